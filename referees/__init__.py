"""Others that must agree with this package: clients of the exchange, tools that read the spec."""
