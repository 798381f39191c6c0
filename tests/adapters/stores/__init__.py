"""The stores: signing and verifying first, against the SDK and the examples of AWS."""
