// Publishes one message and ends:
// node publisher.js [URL [TOPIC [PAYLOAD [USERNAME PASSWORD]]]]
const mqtt = require('mqtt');

const [
  url = 'mqtt://127.0.0.1:1883',
  topic = 'tutorial',
  payload = 'hello',
  username,
  password,
] = process.argv.slice(2);
// Over TLS: nobody has told this program to trust the certificate that the broker made for itself.
const client = mqtt.connect(url, { username, password, rejectUnauthorized: false });

client.on('connect', (connack) => {
  console.log(`return code: ${connack.returnCode}, sessionPresent: ${connack.sessionPresent}`);
  client.publish(topic, payload, { qos: 1 }, (error) => {
    if (error) throw error;
    client.end();
  });
});

client.on('error', (error) => {
  console.log(`Error: ${error.message}`);
  process.exit(1);
});
