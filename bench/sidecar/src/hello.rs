//! The bytes of a real ClientHello, for those who send them by hand. It must not build hellos of its own: what rustls
//! would send is what comes out.

use std::io;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::Pki;

/// The first flight of a sidecar-like client: one TLS record with a ClientHello for this server name and these ALPN values
/// (none: no ALPN extension).
///
/// # Errors
/// When `sni` is no DNS name as rustls understands it.
pub fn client_hello_bytes(pki: &Pki, sni: &str, alpn: &[&str]) -> io::Result<Vec<u8>> {
    let name = server_name(sni)?;
    let mut session =
        ClientConnection::new(pki.client_config(alpn), name).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes)?;
    }
    Ok(bytes)
}

/// The text as a name that rustls sends as SNI.
pub(crate) fn server_name(sni: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(sni.to_owned()).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("'{sni}' cannot stand in a ClientHello: {error}"),
        )
    })
}
