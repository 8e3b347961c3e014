"""Proof, on the user's own data, that no feature knows the future and no result is too good."""
