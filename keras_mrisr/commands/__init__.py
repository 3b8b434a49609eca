"""One module a command: `add` declares its options, the rest calls one library function."""
