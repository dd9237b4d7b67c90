"""What archs cost by counting: MACs, parameters, memory."""
