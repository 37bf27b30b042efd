//! The gateway: one door for users. It routes to engines, tells the state of the whole and serves the web page.
