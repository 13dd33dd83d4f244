#!/usr/bin/env node
// Runs jobs of BullMQ with many workers, each of which blocks in BZPOPMIN on a connection of its own.
//
//     npm install bullmq ioredis
//     node bullmq.mjs PORT [SERVER_PORT] [WORKERS] [JOBS]
//
// PORT is the target of the workers: a Redis server, or a gateway in front of it. SERVER_PORT is the Redis server
// itself, whose connections are counted.
import { Queue, Worker } from 'bullmq';
import Redis from 'ioredis';

const port = Number(process.argv[2]);
const serverPort = Number(process.argv[3] ?? port);
const workerCount = Number(process.argv[4] ?? 200);
const jobCount = Number(process.argv[5] ?? 5000);
if (!port) {
  console.error('usage: node bullmq.mjs PORT [SERVER_PORT] [WORKERS] [JOBS]');
  process.exit(2);
}

const connection = { host: '127.0.0.1', port };
const errors = new Map();
const failed = (error) => errors.set(error.message, (errors.get(error.message) ?? 0) + 1);
const monitor = new Redis({ port: serverPort });
let peak = 0;
const counting = setInterval(async () => {
  const info = await monitor.info('clients');
  peak = Math.max(peak, Number(/connected_clients:(\d+)/.exec(info)[1]) - 1);
}, 50);

const seen = new Map();
const queue = new Queue('respool-example', { connection });
queue.on('error', failed);
await queue.obliterate({ force: true });
const workers = [];
for (let i = 0; i < workerCount; i++) {
  const worker = new Worker('respool-example', async (job) => {
    seen.set(job.data.n, (seen.get(job.data.n) ?? 0) + 1);
  }, { connection });
  worker.on('error', failed);
  worker.on('failed', (_job, error) => failed(error));
  workers.push(worker);
}
await Promise.all(workers.map((w) => w.waitUntilReady()));

const began = Date.now();
for (let n = 0; n < jobCount; n += 100) {
  await queue.addBulk(Array.from({ length: Math.min(100, jobCount - n) }, (_, i) => ({
    name: 'job', data: { n: n + i }, opts: { removeOnComplete: true },
  })));
}
while (seen.size < jobCount && Date.now() - began < 120_000) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const seconds = (Date.now() - began) / 1000;
clearInterval(counting);
const twice = [...seen.values()].filter((n) => n > 1).length;
console.log(`BullMQ, ${workerCount} workers: ${seen.size} of ${jobCount} jobs in ${seconds.toFixed(1)} s, ${twice} of them twice`);
console.log(`peak: ${peak} connections to the server`);
console.log('errors:', errors.size === 0 ? 'none' : Object.fromEntries(errors));
await Promise.all(workers.map((w) => w.close(true)));
await queue.close();
monitor.disconnect();
process.exit(seen.size === jobCount && errors.size === 0 ? 0 : 1);
