//! Places where a bug of `bug` is planted on purpose, and that vanish from a build without the feature `canaries`.

/// Marks the place of a planted bug.
///
/// * `planted!(Bug::WideBulkhead, slots + 1, else slots)` is the first expression in a process in which the bug is planted,
///   and the second one in every other process. A build without the feature `canaries` contains the second one only.
/// * `planted!(Bug::Grudge)` is whether the bug is planted, for places where it adds or skips a statement. It is the constant
///   `false` in a build without the feature, so the compiler removes the branch.
///
/// The bug is written as `Bug::Name` and needs no import.
#[cfg(feature = "canaries")]
macro_rules! planted {
    (Bug::$bug:ident) => {
        $crate::bug::is_planted($crate::bug::Bug::$bug)
    };
    (Bug::$bug:ident, $wrong:expr, else $right:expr) => {
        if $crate::bug::is_planted($crate::bug::Bug::$bug) { $wrong } else { $right }
    };
}

/// Marks the place of a planted bug; without the feature `canaries` there is none, and the macro leaves the right code only.
#[cfg(not(feature = "canaries"))]
macro_rules! planted {
    (Bug::$bug:ident) => {
        false
    };
    // A block, so that `let x = planted!(…, else x)` is not a lint.
    (Bug::$bug:ident, $wrong:expr, else $right:expr) => {{ $right }};
}

pub(crate) use planted;
