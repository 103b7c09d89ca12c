//! HTTP/2 settings of both ends of a connection.

/// Flow-control window of one stream, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Flow-control window of one connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Largest DATA frame, in bytes. An image of up to one megapixel fits into one frame, so it is received without a copy.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Largest number of concurrent calls on one connection. The server offers it, and the client assumes it until the
/// server's settings arrive.
pub const STREAMS_MAX: u32 = 1024;

/// Largest list of headers of one call, in bytes, as HTTP/2 counts them. gRPC's own headers take a few hundred.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
