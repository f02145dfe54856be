"""Builders, the naive oracle, the verifier and the scenario runner that the tests share."""
