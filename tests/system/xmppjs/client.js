/* An XMPP client on xmpp.js, for the tests; the same arguments as strophe_client.c, and it says the same:
 *     PASSWORD=secret NODE_PATH=... node client.js JID HOST PORT COUNT [TO BODY]
 * COUNT "orders": messages are orders (see test_clients.py); xmpp.js itself enables stream management and resumes. */
"use strict";
const { client, xml, jid } = require("@xmpp/client");

const [address, host, port, count, to, body] = process.argv.slice(2);
const me = jid(address);
const xmpp = client({ service: `xmpp://${host}:${port}`, domain: me.domain, resource: me.resource || undefined, username: me.local, password: process.env.PASSWORD });
let left = Number(count);

const say = (text) => process.stdout.write(`${text}\n`);
const message = (recipient, text) => xmpp.send(xml("message", { to: recipient, type: "chat" }, xml("body", {}, text)));

/* Not by xmpp.iqCaller: 0.13 does not count the answers it waits for, so that after a resumption it would be sent again what it has had. */
let asked = 0;
function ask(type, child) {
    const id = `ask-${++asked}`;
    const answer = new Promise((resolve) => {
        const listener = (stanza) => {
            if (!stanza.is("iq") || stanza.attrs.id !== id) return;
            xmpp.removeListener("stanza", listener);
            resolve(stanza);
        };
        xmpp.on("stanza", listener);
    });
    return xmpp.send(xml("iq", { type, id }, child)).then(() => answer);
}

async function end() {
    await xmpp.stop();
    process.exit(0);
}

const orders = {
    cut: () => xmpp.socket.socket.destroy(),
    end,
    async add(contact) {
        const item = xml("item", { jid: contact, name: "somebody" }, xml("group", {}, "from xmpp.js"));
        await ask("set", xml("query", "jabber:iq:roster", item));
        await xmpp.send(xml("presence", { to: contact, type: "subscribe" }));
    },
};

xmpp.iqCallee.set("jabber:iq:roster", "query", ({ element }) => {
    for (const item of element.getChildren("item")) say(`roster ${item.attrs.jid} ${item.attrs.subscription}`);
    return true;
});

xmpp.on("online", async () => {
    await ask("get", xml("query", "jabber:iq:roster"));
    await xmpp.send(xml("presence"));
    await ask("get", xml("ping", "urn:xmpp:ping")); // behind the presence: when it is answered the session takes messages
    say("ready");
    if (to) await message(to, body);
    if (left === 0) await end();
});

xmpp.on("nonza", (nonza) => {
    if (nonza.is("resumed")) say("resumed");
    if (nonza.is("failed")) say("not resumed");
});

xmpp.on("stanza", async (stanza) => {
    if (stanza.is("presence") && stanza.attrs.type === "subscribe") await xmpp.send(xml("presence", { to: stanza.attrs.from, type: "subscribed" }));
    const text = stanza.is("message") && stanza.getChildText("body");
    if (!text) return;
    if (count !== "orders") {
        say(`${stanza.attrs.type || "normal"} ${stanza.attrs.from}: ${text}`);
        left -= 1;
        if (left === 0) await end();
        return;
    }
    say(`got ${text}`);
    const [order, argument] = text.split(" ");
    if (orders[order]) await orders[order](argument);
    else await message(stanza.attrs.from, `heard ${text}`);
});

xmpp.on("error", (error) => {
    say(`error ${error.message}`);
    if (error.name === "SASLError") process.exit(1);
});
xmpp.start().catch(() => {});
