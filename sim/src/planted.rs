//! Places where a leak of `canary` is planted on purpose, and that vanish from a build without the feature `canaries`.

/// Returns true if the leak `Canary::Name` is planted. It is the constant `false` in a build without the feature
/// `canaries`, so the compiler removes the branch.
#[cfg(feature = "canaries")]
macro_rules! planted {
    (Canary::$canary:ident) => {
        $crate::canary::is($crate::canary::Canary::$canary)
    };
}

/// Returns false: a build without the feature `canaries` has no planted leaks.
#[cfg(not(feature = "canaries"))]
macro_rules! planted {
    (Canary::$canary:ident) => {
        // Not the bare `false`, which is a lint in a condition.
        std::convert::identity(false)
    };
}

pub(crate) use planted;
