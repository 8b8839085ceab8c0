"""From a search to a bundle: confirm, choose, certify, open the test role once."""
