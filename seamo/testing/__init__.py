"""The synthetic world and the contract suites that outside packages can run too."""
