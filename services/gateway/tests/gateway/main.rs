//! The gateway before real engines, before engines that misbehave and before none.

mod engines;
mod misbehaviour;
mod page;
mod passing;
mod support;
mod websocket;
