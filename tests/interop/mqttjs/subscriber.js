// Subscribes to a topic and prints what comes: node subscriber.js [URL [TOPIC]]
const mqtt = require('mqtt');

const [url = 'mqtt://127.0.0.1:1883', topic = 'tutorial'] = process.argv.slice(2);
// Over TLS: nobody has told this program to trust the certificate that the broker made for itself.
const client = mqtt.connect(url, { rejectUnauthorized: false });

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
