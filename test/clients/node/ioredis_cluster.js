'use strict'
// The cluster client of ioredis.
//
// usage: ioredis_cluster.js HOST PORT PROTOCOL

const { Cluster } = require('ioredis')
const { count, run, say, shown } = require('./program.js')

run(async ({ host, port, protocol }) => {
  const r = new Cluster([{ host, port }], { redisOptions: { protocol } })
  const key = (name) => `ioredis:${name}`
  for (const reply of await Promise.all(count(100, (i) => r.set(key(i), i)))) say('set', reply)
  for (const reply of await Promise.all(count(100, (i) => r.incr(key(i))))) say('incr', reply)
  for (const reply of await Promise.all(count(100, (i) => r.get(key(i))))) say('get', reply)
  say('pipeline', await r.pipeline().set('{io}1', 'a').incr('{io}n').lpush('{io}n', 'x').get('{io}1').exec())
  say('multi', await r.multi().set('{io}1', 'b').incr('{io}n').exec())
  say('mset', await r.mset('{io}1', 'a', '{io}2', 'b'), await r.mget('{io}1', '{io}2', '{io}3'))
  await shown('crossslot', r.sunion(key(1), key(2)))
  await shown('errors', r.lpush(key(1), 'x'))
  await shown('errors', r.call('NOSUCHCOMMAND', key(1)))
  r.defineCommand('mine', { numberOfKeys: 1, lua: "return {KEYS[1], redis.call('INCR', KEYS[1])}" })
  for (let i = 0; i < 10; i++) say('script', await r.mine(key(`script${i}`)))
  const popped = r.duplicate().blpop('{io}q1', '{io}q2', 20)
  say('blpop', await r.rpush('{io}q2', 'job'), await popped, await r.blpop('{io}q1', 0.05))
  say('streams', await r.xadd(key('x'), '1-1', 'f', '1'), await r.xgroup('CREATE', key('x'), 'g', '0'))
  say('streams', await r.xreadgroup('GROUP', 'g', 'c', 'BLOCK', 1000, 'STREAMS', key('x'), '>'))
  const sub = r.duplicate()
  const message = new Promise((got) => sub.on('message', (channel, text) => got([channel, text])))
  say('subscribe', await sub.subscribe(key('news')))
  await r.publish(key('news'), 'one')
  say('message', await message)
  await Promise.all(r.nodes('master').map((node) => node.flushall()))
  process.stdout.write('', () => process.exit(0)) // its duplicates keep connections
})
