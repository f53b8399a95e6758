"""The store: results exactly once, and the weights and masks behind them."""
