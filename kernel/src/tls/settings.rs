//! `[tls]`: whether the connections between client and servers are encrypted.

use crate::settings::{
    named::named,
    table_macro::{NOT_DRAWN, table},
};

table! {
    /// `[tls]`: connections between client and servers use TLS 1.3. Each run has certificates of its own.
    #[derive(Copy, Eq)]
    Tls {
        /// The side that shows a certificate: `"server"`, or in `"mutual"` TLS the client, too.
        mode: TlsMode = TlsMode::Server, (), NOT_DRAWN;
    }
}

/// The ends of a connection that show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TlsMode {
    /// The server, which the client verifies.
    Server,
    /// Both, each of which verifies the other (mTLS).
    Mutual,
}

named!(TlsMode, "a mode of TLS", ["mtls" => "mutual"]);
