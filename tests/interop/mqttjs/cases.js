// One case of MQTT.js against a broker: node cases.js URL VERSION CASE NAME
// Prints `done`, or `failed` with the reason. NAME keeps topics and ids apart.
const assert = require('node:assert');
const { once } = require('node:events');
const mqtt = require('mqtt');

const [url, version, caseName, name] = process.argv.slice(2);
const PATIENCE_MS = 25000;
const LEVELS = {
  '3.1': { protocolId: 'MQIsdp', protocolVersion: 3 },
  '3.1.1': { protocolId: 'MQTT', protocolVersion: 4 },
  5: { protocolId: 'MQTT', protocolVersion: 5 },
};

/** A client whose messages are awaited one by one. */
class Client {
  static async open(role, options = {}) {
    const client = new Client();
    client.waiting = [];
    client.messages = [];
    client.mqtt = mqtt.connect(url, {
      ...LEVELS[version],
      clientId: `${name}${role}`,
      reconnectPeriod: 0,
      rejectUnauthorized: false,
      ...options,
    });
    client.mqtt.on('message', (topic, payload, packet) => client.take({ ...packet, topic }));
    [client.connack] = await once(client.mqtt, 'connect');
    return client;
  }

  take(packet) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(packet);
    else this.messages.push(packet);
  }

  next() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async payloads(count) {
    const found = [];
    while (found.length < count) found.push((await this.next()).payload.toString());
    return found;
  }

  subscribe(filter, options) {
    return this.mqtt.subscribeAsync(filter, options);
  }

  publish(topic, payload, options = {}) {
    return this.mqtt.publishAsync(topic, payload, options);
  }

  end() {
    return this.mqtt.endAsync();
  }

  /** Ends without a DISCONNECT. */
  async cut() {
    this.mqtt.stream.destroy();
    await once(this.mqtt, 'close');
  }
}

const topic = (rest) => `${name}/${rest}`;
const persistent = () =>
  version === '5' ? { clean: false, properties: { sessionExpiryInterval: 3600 } } : { clean: false };

async function flow(qos) {
  const [sender, receiver] = [await Client.open('s'), await Client.open('r')];
  const granted = await receiver.subscribe(topic('#'), { qos });
  assert.strictEqual(granted[0].qos, qos);
  for (let number = 0; number < 10; number++) {
    await sender.publish(topic('a'), String(number), { qos });
  }
  for (let number = 0; number < 10; number++) {
    const packet = await receiver.next();
    assert.strictEqual(packet.payload.toString(), String(number));
    assert.strictEqual(packet.qos, qos);
  }
}

const cases = {
  qos0: () => flow(0),
  qos1: () => flow(1),
  qos2: () => flow(2),

  async retained() {
    const client = await Client.open('c');
    await client.publish(topic('kept'), 'x', { qos: 1, retain: true });
    await client.subscribe(topic('+'), { qos: 1 });
    const packet = await client.next();
    assert.deepStrictEqual([packet.payload.toString(), packet.retain], ['x', true]);
    await client.publish(topic('kept'), '', { qos: 1, retain: true });
    assert.strictEqual((await client.next()).payload.length, 0);
    const late = await Client.open('l');
    await late.subscribe(topic('+'), { qos: 1 });
    await client.publish(topic('end'), 'end', { qos: 1 });
    assert.deepStrictEqual(await late.payloads(1), ['end']);
  },

  async will() {
    const watcher = await Client.open('w');
    await watcher.subscribe(topic('will'), { qos: 1 });
    const will = { topic: topic('will'), payload: Buffer.from('gone'), qos: 1, retain: false };
    const dies = await Client.open('d', { will });
    await dies.cut();
    assert.deepStrictEqual(await watcher.payloads(1), ['gone']);
    const leaves = await Client.open('d', { will });
    await leaves.end();
    await watcher.publish(topic('will'), 'marker', { qos: 1 });
    assert.deepStrictEqual(await watcher.payloads(1), ['marker']);
  },

  async session() {
    const sender = await Client.open('s');
    const first = await Client.open('r', persistent());
    assert.strictEqual(first.connack.sessionPresent, false);
    await first.subscribe(topic('a'), { qos: 2 });
    await first.cut();
    for (let number = 0; number < 20; number++) {
      await sender.publish(topic('a'), String(number), { qos: 2 });
    }
    const back = await Client.open('r', persistent());
    if (version !== '3.1') assert.strictEqual(back.connack.sessionPresent, true);
    const wanted = Array.from({ length: 20 }, (_, number) => String(number));
    assert.deepStrictEqual(await back.payloads(20), wanted);
  },

  async unsubscribe() {
    const client = await Client.open('c');
    await client.subscribe([topic('a'), topic('b')], { qos: 1 });
    await client.mqtt.unsubscribeAsync(topic('a'));
    await client.publish(topic('a'), 'a', { qos: 1 });
    await client.publish(topic('b'), 'b', { qos: 1 });
    assert.deepStrictEqual(await client.payloads(1), ['b']);
  },

  async large() {
    const client = await Client.open('c');
    const payload = Buffer.alloc(500000, 'ringmq ');
    await client.subscribe(topic('a'), { qos: 2 });
    await client.publish(topic('a'), payload, { qos: 2 });
    assert(payload.equals((await client.next()).payload));
  },

  async burst() {
    const [sender, receiver] = [await Client.open('s'), await Client.open('r')];
    await receiver.subscribe(topic('a'), { qos: 2 });
    // MQTT.js itself keeps to no Receive Maximum; 3.x knows none.
    const window = version === '5' ? (sender.connack.properties.receiveMaximum ?? 65535) : 1000;
    for (let number = 0; number < 1000; ) {
      const sent = [];
      while (number < 1000 && sent.length < window) {
        sent.push(sender.publish(topic('a'), String(number++), { qos: 2 }));
      }
      await Promise.all(sent);
    }
    const wanted = Array.from({ length: 1000 }, (_, number) => String(number));
    assert.deepStrictEqual(await receiver.payloads(1000), wanted);
  },

  async properties() {
    const client = await Client.open('c');
    await client.subscribe(topic('a'), { qos: 1, properties: { subscriptionIdentifier: 9 } });
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'text/plain',
      responseTopic: topic('answers'),
      correlationData: Buffer.from([0, 1, 255]),
      messageExpiryInterval: 60,
      userProperties: { one: 'a', two: ['b', 'c'] },
    };
    await client.publish(topic('a'), 'x', { qos: 1, properties });
    const told = (await client.next()).properties;
    assert.deepStrictEqual(told.userProperties.two, ['b', 'c']);
    assert.strictEqual(told.userProperties.one, 'a');
    assert.strictEqual(told.contentType, 'text/plain');
    assert.strictEqual(told.responseTopic, topic('answers'));
    assert(told.correlationData.equals(properties.correlationData));
    assert.strictEqual(told.payloadFormatIndicator, true);
    assert.strictEqual(told.subscriptionIdentifier, 9);
  },

  async aliases() {
    const options = { autoAssignTopicAlias: true, properties: { topicAliasMaximum: 4 } };
    const [sender, receiver] = [await Client.open('s', options), await Client.open('r', options)];
    await receiver.subscribe(topic('#'), { qos: 1 });
    const wanted = [];
    for (let number = 0; number < 40; number++) wanted.push(topic(`t${number % 6}`));
    for (const one of wanted) await sender.publish(one, 'x', { qos: 1 });
    const found = [];
    while (found.length < wanted.length) found.push((await receiver.next()).topic);
    assert.deepStrictEqual(found, wanted);
  },

  async options() {
    const client = await Client.open('c');
    await client.publish(topic('kept'), 'kept', { qos: 1, retain: true });
    await client.subscribe(topic('#'), { qos: 1, nl: true, rh: 2 });
    const other = await Client.open('o');
    await client.publish(topic('a'), 'own', { qos: 1 });
    await other.publish(topic('a'), 'other', { qos: 1 });
    assert.deepStrictEqual(await client.payloads(1), ['other']);
    await client.publish(topic('kept'), '', { qos: 1, retain: true });
  },

  async takeover() {
    const first = await Client.open('same');
    const told = once(first.mqtt, 'disconnect');
    await Client.open('same');
    const [packet] = await told;
    assert.strictEqual(packet.reasonCode, 0x8e);
  },

  async refused() {
    const client = await Client.open('c');
    // MQTT.js rejects a SUBACK with an error; its granted list says which.
    const outcome = await client
      .subscribe('$share/no+name/a', { qos: 1 })
      .then((granted) => granted[0].qos, (error) => error.message);
    assert.match(String(outcome), /143|0x8f|filter|Unspecified|Invalid/i);
    await client.subscribe(topic('a'), { qos: 1 });
  },
};

const overdue = setTimeout(() => {
  console.log(`failed: not done after ${PATIENCE_MS} ms`);
  process.exit(1);
}, PATIENCE_MS);

cases[caseName]().then(
  () => {
    console.log('done');
    clearTimeout(overdue);
    process.exit(0);
  },
  (error) => {
    console.log(`failed: ${error.stack.replaceAll('\n', ' | ')}`);
    process.exit(1);
  },
);
