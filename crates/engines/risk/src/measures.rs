//! Value at risk, expected shortfall and what each position adds to them, from scenarios of P&L.
