//! What is forgotten does not come back, and nothing is lost by forgetting.
