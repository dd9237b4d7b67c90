"""What a network costs: measured latency tables with intervals, and analytic counts that need no device."""
