// Subscribes to a topic and prints what comes: node subscriber.js [URL [TOPIC]]
const mqtt = require('mqtt');

const [url = 'mqtt://127.0.0.1:1883', topic = 'tutorial'] = process.argv.slice(2);
const client = mqtt.connect(url);

client.on('connect', (connack) => {
  console.log(`return code: ${connack.returnCode}, sessionPresent: ${connack.sessionPresent}`);
  client.subscribe(topic, { qos: 1 }, (error) => {
    if (error) throw error;
    console.log(`subscribed to ${topic}`);
  });
});

client.on('message', (name, payload) => {
  console.log(`${name}: ${payload}`);
});

client.on('error', (error) => {
  console.log(`Error: ${error.message}`);
  process.exit(1);
});
