//! What rows are played against.

use super::script::Name;

/// A broker, seen from its clients.
pub trait Target {
    /// Opens a connection.
    fn open(&mut self, conn: Name);
    /// Sends bytes; what cannot be sent because the server has closed is dropped.
    fn send(&mut self, conn: Name, bytes: &[u8]);
    /// Everything that has come on `conn`, waiting for `wants` to be content as long as is
    /// sensible.
    fn recv(&mut self, conn: Name, wants: &dyn Fn(&Received) -> bool) -> &mut Received;
    /// Closes abruptly, and returns when the server has noticed.
    fn close(&mut self, conn: Name);
    /// Whether time is real.
    fn is_live(&self) -> bool;
    /// Lets seconds go by.
    fn advance(&mut self, seconds: u64);
}

/// What has come on a connection and was not looked at yet.
#[derive(Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    /// The server has closed.
    pub closed: bool,
}
