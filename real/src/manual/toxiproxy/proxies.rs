//! The proxies of the API: the one of the command line, and those that clients add.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use kernel::{
    cli::Failure,
    entropy::Entropy,
    link::{Link, Selection},
    record::Name,
    server::Injection,
    sync::lock,
    world::SharedWorld,
};
use serde_json::{Value, json};

use super::{
    super::{
        active_faults::{ActiveFault, ActiveFaults},
        fault_log::{InjectedFaultId, command_id},
        link_listener::LinkListener,
        log::log_line,
        proxy::{self, Upstream, pass_on},
    },
    Refused,
    closing::Deadline,
    listening::Listening,
    toxic::Toxic,
};
use crate::{
    location::Location,
    remote::{RemoteArgs, address},
    tcp,
    timer::Timer,
};

/// Most proxies, and most toxics of one.
const PROXIES_MAX: usize = 64;
const TOXICS_MAX: usize = 64;

/// A proxy with its toxics.
pub(in super::super) struct Toxified {
    listen: SocketAddr,
    /// The server as it was named.
    upstream_text: String,
    upstream: Arc<Upstream>,
    faults: Arc<ActiveFaults>,
    toxics: Vec<Toxic>,
    /// Its listener, for a proxy that has not started.
    listener: Option<LinkListener>,
    /// Its listening; `None` while it is disabled.
    listening: Option<Listening>,
}

impl Toxified {
    /// A proxy that listens already.
    pub(in super::super) fn started(
        listen: SocketAddr,
        upstream_text: &str,
        listener: LinkListener,
        faults: Arc<ActiveFaults>,
        upstream: Arc<Upstream>,
    ) -> Self {
        let listener = Some(listener);
        let upstream_text = upstream_text.to_owned();
        Self { listen, upstream_text, upstream, faults, toxics: Vec::new(), listener, listening: None }
    }

    fn name(&self) -> String {
        self.faults.server().to_owned()
    }

    /// Listens, unless it does.
    fn enable(&mut self, world: &SharedWorld, timer: &Timer) -> Result<(), Refused> {
        if self.listening.is_some() {
            return Ok(());
        }
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let failed = |error| Refused::new(500, format!("listen tcp {}: {error}", self.listen));
                let backlog = tcp::listen_at(self.listen, timer.clone()).map_err(failed)?;
                self.listen = backlog.address().map_err(failed)?;
                let backlog = backlog.by_hand(|text| log_line(text)).for_proxy();
                LinkListener::new(backlog, self.faults.link().clone())
            }
        };
        let passing = pass_on(world.clone(), listener, self.upstream.clone());
        let accepting = Box::pin(async { drop(passing.await) });
        self.listening = Some(Listening::start(world, accepting));
        Ok(())
    }

    /// Closes the listening socket, and resets the connections.
    fn disable(&mut self) {
        if let Some(listening) = self.listening.take() {
            // First, so that no connection is accepted after the reset of the others.
            drop(listening);
            self.faults.reset_connections(Selection::default());
        }
    }

    /// Forgets the toxics that `real inject heal` has lifted.
    fn follow(&mut self) {
        let Self { faults, toxics, upstream, .. } = self;
        toxics.retain(|toxic| {
            let stays = toxic.effect().is_none() || faults.has(&key(toxic));
            if !stays {
                upstream.closings.remove(&toxic.name);
                upstream.flows.remove(&toxic.name);
            }
            stays
        });
    }

    fn apply(&self, world: &SharedWorld, toxic: &Toxic) {
        match toxic.effect() {
            Some(effect) => {
                let id = InjectedFaultId { command: command_id(), kind: toxic.fault().to_owned(), text: toxic.text() };
                self.faults.add(key(toxic), None, ActiveFault { effect, injection: Injection::default(), id });
            }
            None => self.faults.end(&key(toxic)),
        }
        match toxic.closing() {
            Some((after, share)) => {
                let toxic = toxic.name.clone();
                let since = world.now();
                self.upstream.closings.set(Deadline { toxic, since, after, share });
            }
            None => self.upstream.closings.remove(&toxic.name),
        }
        match toxic.treatment() {
            Some((way, share, treatment)) => self.upstream.flows.set(&toxic.name, way, share, treatment),
            None => self.upstream.flows.remove(&toxic.name),
        }
        log_line(format!("{}: {}", self.faults.server(), toxic.text()));
    }

    fn lift(&self, toxic: &Toxic) {
        self.faults.end(&key(toxic));
        self.upstream.closings.remove(&toxic.name);
        self.upstream.flows.remove(&toxic.name);
        log_line(format!("{}: {} is over", self.faults.server(), toxic.text()));
    }

    fn lift_all(&mut self) {
        for toxic in std::mem::take(&mut self.toxics) {
            self.lift(&toxic);
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name(),
            "listen": self.listen.to_string(),
            "upstream": self.upstream_text,
            "enabled": self.listening.is_some(),
            "toxics": self.toxics.iter().map(Toxic::json).collect::<Vec<_>>(),
        })
    }
}

/// The kind under which a toxic is among the faults of a link.
fn key(toxic: &Toxic) -> String {
    format!("toxic {}", toxic.name)
}

/// All proxies of a process.
pub(in super::super) struct Proxies {
    world: SharedWorld,
    timer: Timer,
    remote: RemoteArgs,
    proxies: Mutex<BTreeMap<String, Toxified>>,
}

impl Proxies {
    /// The proxy of the command line, which starts now. Further ones may be at addresses that `remote` allows.
    pub(in super::super) fn new(
        world: SharedWorld,
        remote: RemoteArgs,
        mut first: Toxified,
    ) -> Result<Arc<Self>, Failure> {
        let timer = Timer::start().map_err(Failure::run_failed)?;
        first.enable(&world, &timer).map_err(|refused| Failure::run_failed(refused.reason))?;
        let proxies = Mutex::new(BTreeMap::from([(first.name(), first)]));
        Ok(Arc::new(Self { world, timer, remote, proxies }))
    }

    pub(super) fn timer(&self) -> Timer {
        self.timer.clone()
    }

    pub(super) fn world(&self) -> SharedWorld {
        self.world.clone()
    }

    /// Carries something out on a proxy.
    fn on<T>(&self, name: &str, change: impl FnOnce(&mut Toxified) -> Result<T, Refused>) -> Result<T, Refused> {
        let mut proxies = lock(&self.proxies);
        let proxy = proxies.get_mut(name).ok_or_else(|| Refused::new(404, "proxy not found"))?;
        proxy.follow();
        change(proxy)
    }

    pub(super) fn index(&self) -> Value {
        let mut proxies = lock(&self.proxies);
        let listed = proxies.iter_mut().map(|(name, proxy)| {
            proxy.follow();
            (name.clone(), proxy.json())
        });
        listed.collect::<serde_json::Map<_, _>>().into()
    }

    pub(super) fn show(&self, name: &str) -> Result<Value, Refused> {
        self.on(name, |proxy| Ok(proxy.json()))
    }

    /// Adds a proxy.
    pub(super) fn create(&self, body: &Value) -> Result<Value, Refused> {
        let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty());
        let missing = |key: &str| Refused::new(400, format!("missing required field: {key}"));
        let name = text("name").ok_or_else(|| missing("name"))?;
        let upstream = text("upstream").ok_or_else(|| missing("upstream"))?;
        if name.len() > 64 || name.chars().any(char::is_control) {
            return Err(Refused::new(400, "the name of a proxy has up to 64 bytes and no control characters"));
        }
        let listen = self.listen(text("listen").unwrap_or("127.0.0.1:0"))?;
        let server = server(upstream)?;
        let mut proxies = lock(&self.proxies);
        if proxies.contains_key(name) {
            return Err(Refused::new(409, "proxy already exists"));
        }
        if proxies.len() >= PROXIES_MAX {
            return Err(Refused::new(409, format!("there are {PROXIES_MAX} proxies; delete some")));
        }
        // A fixed seed, as that of a proxy of the command line.
        let link = Link::new(self.world.clone(), Entropy::new(0), name);
        let mut proxy = Toxified {
            listen,
            upstream_text: upstream.to_owned(),
            upstream: Arc::new(Upstream::new(self.world.clone(), Name::from(name), server, None)),
            faults: Arc::new(ActiveFaults::new(link, None, None)),
            toxics: Vec::new(),
            listener: None,
            listening: None,
        };
        if body["enabled"].as_bool().unwrap_or(true) {
            proxy.enable(&self.world, &self.timer)?;
        }
        let json = proxy.json();
        log_line(format!("{name}: {} to {upstream}", proxy.listen));
        proxies.insert(name.to_owned(), proxy);
        Ok(json)
    }

    /// Adds proxies, in place of those of the same names that have other addresses.
    pub(super) fn populate(&self, body: &Value) -> Result<Value, Refused> {
        let list = body.as_array().ok_or_else(|| Refused::new(400, "bad request body: a list of proxies is needed"))?;
        let mut done = Vec::new();
        for wanted in list {
            let name = wanted["name"].as_str().unwrap_or_default();
            let is_same = |there: &Value| {
                there["upstream"] == wanted["upstream"]
                    && wanted["listen"]
                        .as_str()
                        .and_then(|text| self.listen(text).ok())
                        .map(|address| address.to_string())
                        .as_deref()
                        == there["listen"].as_str()
            };
            match self.show(name) {
                Ok(there) if is_same(&there) => {
                    done.push(self.update(name, &json!({ "enabled": wanted["enabled"].as_bool().unwrap_or(true) }))?)
                }
                Ok(_) => {
                    self.delete(name)?;
                    done.push(self.create(wanted)?);
                }
                Err(_) => done.push(self.create(wanted)?),
            }
        }
        Ok(json!({ "proxies": done }))
    }

    /// Changes a proxy.
    pub(super) fn update(&self, name: &str, body: &Value) -> Result<Value, Refused> {
        let listen =
            body["listen"].as_str().filter(|text| !text.is_empty()).map(|text| self.listen(text)).transpose()?;
        let upstream = body["upstream"].as_str().filter(|text| !text.is_empty());
        let upstream = upstream.map(|text| server(text).map(|location| (text, location))).transpose()?;
        self.on(name, |proxy| {
            let was_enabled = proxy.listening.is_some();
            let moved = listen.filter(|listen| *listen != proxy.listen);
            let leads = upstream.filter(|(text, _)| *text != proxy.upstream_text);
            if moved.is_some() || leads.is_some() {
                proxy.disable();
            }
            if let Some(listen) = moved {
                proxy.listen = listen;
            }
            if let Some((text, location)) = leads {
                proxy.upstream_text = text.to_owned();
                proxy.upstream.lead_to(location);
            }
            match body["enabled"].as_bool().unwrap_or(was_enabled) {
                true => proxy.enable(&self.world, &self.timer)?,
                false => proxy.disable(),
            }
            Ok(proxy.json())
        })
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), Refused> {
        self.on(name, |proxy| {
            proxy.lift_all();
            proxy.disable();
            Ok(())
        })?;
        lock(&self.proxies).remove(name);
        Ok(())
    }

    /// Enables every proxy and removes all toxics.
    pub(super) fn reset(&self) -> Result<(), Refused> {
        for proxy in lock(&self.proxies).values_mut() {
            proxy.lift_all();
            proxy.enable(&self.world, &self.timer)?;
        }
        Ok(())
    }

    pub(super) fn toxics(&self, name: &str) -> Result<Value, Refused> {
        self.on(name, |proxy| Ok(proxy.toxics.iter().map(Toxic::json).collect()))
    }

    pub(super) fn toxic(&self, name: &str, toxic: &str) -> Result<Value, Refused> {
        self.on(name, |proxy| Ok(proxy.toxics[position(proxy, toxic)?].json()))
    }

    pub(super) fn add_toxic(&self, name: &str, body: &Value) -> Result<Value, Refused> {
        self.on(name, |proxy| {
            let toxic = Toxic::read(body)?;
            if position(proxy, &toxic.name).is_ok() {
                return Err(Refused::new(409, "toxic already exists"));
            }
            if proxy.toxics.len() >= TOXICS_MAX {
                return Err(Refused::new(409, format!("the proxy has {TOXICS_MAX} toxics; remove some")));
            }
            proxy.apply(&self.world, &toxic);
            let json = toxic.json();
            proxy.toxics.push(toxic);
            Ok(json)
        })
    }

    pub(super) fn update_toxic(&self, name: &str, toxic: &str, body: &Value) -> Result<Value, Refused> {
        self.on(name, |proxy| {
            let position = position(proxy, toxic)?;
            let changed = proxy.toxics[position].with(body)?;
            proxy.apply(&self.world, &changed);
            proxy.toxics[position] = changed;
            Ok(proxy.toxics[position].json())
        })
    }

    pub(super) fn remove_toxic(&self, name: &str, toxic: &str) -> Result<(), Refused> {
        self.on(name, |proxy| {
            let toxic = proxy.toxics.remove(position(proxy, toxic)?);
            proxy.lift(&toxic);
            Ok(())
        })
    }

    /// Returns the address at which a proxy must listen.
    fn listen(&self, text: &str) -> Result<SocketAddr, Refused> {
        // A port alone is one of the loopback device here.
        let text = text.strip_prefix(':').unwrap_or(text);
        let listen = address(text).map_err(|error| Refused::new(400, format!("bad request body: listen: {error}")))?;
        self.remote.check("`listen`", listen.ip()).map_err(|failure| Refused::new(400, failure.message))?;
        Ok(listen)
    }
}

fn server(text: &str) -> Result<Location, Refused> {
    proxy::upstream(text)
        .map_err(|failure| Refused::new(400, format!("bad request body: upstream: {}", failure.message)))
}

fn position(proxy: &Toxified, toxic: &str) -> Result<usize, Refused> {
    proxy.toxics.iter().position(|own| own.name == toxic).ok_or_else(|| Refused::new(404, "toxic not found"))
}
