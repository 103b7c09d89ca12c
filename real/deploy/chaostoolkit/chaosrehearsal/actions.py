"""Starts and stops servers, injects and lifts faults, puts load on servers, changes their settings."""

from chaosrehearsal import WITH_SUMMARY, load_words, real, summary_of

__all__ = ["change_settings", "heal", "inject", "load", "resume", "start_servers", "stop_servers"]


def start_servers(servers=2, options=None):
    """Starts the servers of `real up` that do not run, and waits until all serve. `options` are further words, such as
    ["--service-time-min", "20ms"]."""
    return real("up", servers, *(options or []))


def stop_servers(names=None):
    """Ends these servers, or all, frozen ones too."""
    return real("down", *(names or []))


def inject(fault, target, options=None):
    """Injects a fault of `real inject`, such as `crash`, `partition` or `certificate-expired`, into a server. `options` are its further
    words, such as {"duration": "4s", "latency": "200ms"}. With a duration, the activity takes as long; run it in the background to go on."""
    words = [word for name, value in (options or {}).items() for word in ("--" + name.replace("_", "-"), value)]
    return real("inject", fault, target, *words)


def heal(target):
    """Lifts all faults of a server but a freeze."""
    return real("inject", "heal", target)


def resume(target):
    """Continues a server that is frozen."""
    return real("inject", "resume", target)


def change_settings(settings, servers=None):
    """Gives settings of running servers or loads other values, such as ["servers.queue=16"]."""
    return real("set", *settings, *(["--servers", ",".join(servers)] if servers else []))


def load(duration, rate=10, servers=None, settings=None, out=None, options=None):
    """Puts load on the servers, records it in the folder `out`, if there is one, and returns the summary. Run it in the background while
    faults are injected. `options` are further words, such as ["--tls-ca", "ca.pem"] for servers with TLS."""
    words = load_words(servers, rate, duration, settings, options)
    if out:
        words += ["--out", out, "--force"]
    return summary_of(real(*words, codes=WITH_SUMMARY))
