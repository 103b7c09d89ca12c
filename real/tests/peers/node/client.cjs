// Steers a proxy by toxiproxy-node-client of npm: client.cjs http://HOST:PORT UPSTREAM.
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const [api, upstream] = process.argv.slice(2);

// Returns what comes back of `data` until the end, or the code of the error.
const roundTrip = (listen, data) =>
  new Promise((resolve) => {
    const [host, port] = listen.split(":");
    const socket = net.connect(Number(port), host, () => socket.end(data));
    let back = "";
    socket.setTimeout(20000, () => socket.destroy(new Error("timeout")));
    socket.on("data", (more) => (back += more));
    socket.on("end", () => resolve(back));
    socket.on("error", (error) => resolve(error.code));
  });

const expect = (what, holds) => {
  if (!holds) {
    throw new Error(`toxiproxy-node-client: ${what}`);
  }
};

(async () => {
  const server = new Toxiproxy(api);
  expect("a version", JSON.parse(await server.getVersion()).version.startsWith("2."));
  expect("the proxy of the command line", Object.keys(await server.getAll()).join() === "web");
  const proxies = await server.populate([{ name: "node", listen: "127.0.0.1:0", upstream, enabled: true }]);
  const proxy = proxies.node;
  expect("bytes pass", (await roundTrip(proxy.listen, "ping")) === "ping");
  const toxic = await proxy.addToxic({ name: "few", type: "limit_data", stream: "downstream", toxicity: 1, attributes: { bytes: 3 } });
  expect("the limit holds", (await roundTrip(proxy.listen, "ping")) === "pin");
  await toxic.update({ attributes: { bytes: 2 } });
  expect("the limit is another one", (await roundTrip(proxy.listen, "ping")) === "pi");
  expect("it is listed", (await proxy.getToxic("few")).attributes.bytes === 2);
  await toxic.remove();
  await proxy.addToxic({ name: "reset", type: "reset_peer", stream: "downstream", toxicity: 1, attributes: { timeout: 0 } });
  expect("connections are reset", (await roundTrip(proxy.listen, "ping")) === "ECONNRESET");
  await server.reset();
  expect("bytes pass again", (await roundTrip(proxy.listen, "ping")) === "ping");
  await proxy.update({ enabled: false, listen: proxy.listen, upstream });
  expect("a disabled proxy refuses", (await roundTrip(proxy.listen, "ping")) === "ECONNREFUSED");
  await proxy.remove();
  expect("it is gone", Object.keys(await server.getAll()).join() === "web");
  console.log("toxiproxy-node-client: a proxy added and removed, 2 toxics, a reset: as with toxiproxy");
})().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
