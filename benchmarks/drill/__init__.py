"""The fault drill: real faults under real load, and what clients see of them."""
