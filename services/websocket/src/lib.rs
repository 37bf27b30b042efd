//! The websocket service: fans both buses out to many clients.
