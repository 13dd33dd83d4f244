'use strict'
// The cluster client of node-redis.
//
// usage: noderedis_cluster.js HOST PORT PROTOCOL

const { createCluster } = require('redis')
const { count, run, say, shown } = require('./program.js')

run(async ({ host, port, protocol }) => {
  const r = await createCluster({ rootNodes: [{ socket: { host, port } }], RESP: protocol }).connect()
  const key = (name) => `noderedis:${name}`
  for (const reply of await Promise.all(count(100, (i) => r.set(key(i), String(i))))) say('set', reply)
  for (const reply of await Promise.all(count(100, (i) => r.incr(key(i))))) say('incr', reply)
  for (const reply of await Promise.all(count(100, (i) => r.get(key(i))))) say('get', reply)
  say('multi', await r.multi().set('{node}1', 'b').incr('{node}n').get('{node}1').exec())
  say('mset', await r.mSet(['{node}1', 'a', '{node}2', 'b']), await r.mGet(['{node}1', '{node}2', '{node}3']))
  await shown('crossslot', r.sUnion([key(1), key(2)]))
  await shown('errors', r.lPush(key(1), 'x'))
  await shown('errors', r.sendCommand(key(1), false, ['NOSUCHCOMMAND', key(1)]))
  const script = { keys: [key('script')], arguments: [] }
  for (let i = 0; i < 10; i++) say('script', await r.eval("return {KEYS[1], redis.call('INCR', KEYS[1])}", script))
  say('blpop', await r.rPush('{node}q2', 'job'), await r.blPop(['{node}q1', '{node}q2'], 20), await r.blPop('{node}q1', 0.05))
  say('streams', await r.xAdd(key('x'), '1-1', { f: '1' }), await r.xGroupCreate(key('x'), 'g', '0'))
  say('streams', await r.xReadGroup('g', 'c', [{ key: key('x'), id: '>' }], { BLOCK: 1000 }))
  for (const how of ['', 's']) {
    let got
    const message = new Promise((resolve) => (got = resolve))
    await r[how ? 'sSubscribe' : 'subscribe'](key('news'), (text, channel) => got([channel, text]))
    await r[how ? 'sPublish' : 'publish'](key('news'), 'one')
    say(`${how}message`, await message)
    await r[how ? 'sUnsubscribe' : 'unsubscribe'](key('news'))
  }
  await Promise.all(r.masters.map(async (node) => (await r.nodeClient(node)).flushAll()))
  await r.close()
})
