"""Hooks: functions that are called when somebody emits an event, each once among all processes."""
