//! Whether forecasts of VaR and ES were right: backtests of a record of forecasts and outcomes.
