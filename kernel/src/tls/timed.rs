//! The time that a handshake keeps both ends busy.

use std::time::Duration;

use rustls::{ClientConnection, Connection, Error, ServerConnection, pki_types::ServerName};

use super::{Presented, Tls, TlsError};

/// Plays a handshake with `server` in memory, and returns for how long it keeps the client and the server busy, by a clock that counts
/// nanoseconds.
///
/// # Errors
///
/// Returns the error of the handshake, or one if `client` does not connect or `server` does not accept.
pub fn timed_handshake(
    client: &Tls,
    server: &Tls,
    name: &str,
    now_ns: impl Fn() -> u64,
) -> Result<[Duration; 2], TlsError> {
    let (Some((client, _)), Some(server)) = (&client.connecting, &server.accepting) else {
        return Err(Error::General("one of the two ends has no TLS".to_owned()).into());
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::General(error.to_string()))?;
    let mut busy = [Duration::ZERO; 2];
    let mut on = |end: usize, work: &mut dyn FnMut() -> Result<(), Error>| {
        let begun = now_ns();
        let done = work();
        busy[end] += Duration::from_nanos(now_ns() - begun);
        done
    };
    let mut ends: [Option<Connection>; 2] = [None, None];
    on(0, &mut || {
        ends[0] = Some(ClientConnection::new(client.clone(), name.clone())?.into());
        Ok(())
    })?;
    on(1, &mut || {
        ends[1] = Some(ServerConnection::new(server[Presented::Valid as usize].clone())?.into());
        Ok(())
    })?;
    let [Some(mut client), Some(mut server)] = ends else { unreachable!("both have begun") };
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        on(1, &mut || pass(&mut client, &mut server))?;
        on(0, &mut || pass(&mut server, &mut client))?;
    }
    Ok(busy)
}

/// Passes what one end has to say to the other, which computes then.
fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let io = |error: std::io::Error| Error::General(error.to_string());
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).map_err(io)?;
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).map_err(io)?;
        to.process_new_packets()?;
    }
    Ok(())
}
