//! The macro `sometimes!`.

/// Notes that the code has reached a state, if a condition holds: the assertion that it sometimes does. [`Host::reached`](crate::app::Host::reached)
/// describes who uses it. The condition is evaluated once.
///
/// ```
/// use kernel::{app::Host, sometimes};
///
/// fn reserve(host: &Host, stock: &mut u32) -> bool {
///     sometimes!(host, *stock == 0, "out of stock");
///     let is_left = *stock > 0;
///     *stock = stock.saturating_sub(1);
///     is_left
/// }
/// ```
#[macro_export]
macro_rules! sometimes {
    ($host:expr, $condition:expr, $state:literal) => {
        if $condition {
            $host.reached($state);
        }
    };
}
