"""Models that training imitates and the finished model does not need."""
