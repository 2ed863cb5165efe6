"""The audit: who did, read or was denied what, in rows that cannot be changed or cut off unnoticed."""
