'use strict'
// ioredis against one server.
//
// usage: ioredis.js HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster]

const { Redis } = require('ioredis')
const { big, count, digest, run, say, shown, until } = require('./program.js')

run(async ({ host, port, protocol, user, password, cluster }) => {
  const clients = []
  const connect = (options) => {
    const client = new Redis({ host, port, protocol, retryStrategy: null, ...options })
    client.on('error', () => {}) // commands report theirs
    clients.push(client)
    return client
  }
  const r = connect()
  const other = connect()
  const prefix = `ioredis:${protocol}:`
  const key = (name) => prefix + name
  const program = { connect, r, other, prefix, key, protocol, user, password, cluster }

  await hello(program)
  await strings(program)
  await collections(program)
  await pipelines(program)
  await transactions(program)
  await scripts(program)
  await blocking(program)
  await streams(program)
  await pubsub(program)
  await scans(program)
  await large(program)
  await connection(program)
  if (!cluster) {
    await databases(program)
    await reset(program)
  }
  if (user) await auth(program)
  await errors(program)
  await concurrent(program)
  await cleanup(program)
  const open = clients.filter((client) => client.status === 'ready')
  say('quit', open.length, await Promise.all(open.map((client) => client.quit())))
})

async function hello({ r }) {
  const flat = await r.call('HELLO')
  for (const field of ['server', 'proto', 'mode', 'role']) say('hello', field, flat[flat.indexOf(field) + 1])
  say('ping', await r.ping(), await r.echo('hello'))
}

async function strings({ r, key }) {
  say('strings set', await r.set(key('s'), 'value'), await r.set(key('s'), 'no', 'NX'))
  say('strings get', await r.get(key('s')), await r.get(key('none')))
  say('strings incr', await r.incr(key('n')), await r.incrby(key('n'), 41), await r.incrbyfloat(key('f'), 1.5))
  say('strings append', await r.append(key('s'), '-more'), await r.getrange(key('s'), 3, 7))
  say('strings mset', await r.mset({ [key('a')]: '1', [key('b')]: '', [key('c')]: '3' }))
  say('strings mget', await r.mget(key('a'), key('b'), key('none'), key('c')))
  const binary = Buffer.concat([Buffer.from(count(256, (i) => i)), Buffer.from('\r\n\0$5\r\nhello\r\n*0\r\n\0')])
  say('strings binary', await r.set(key('bin\r\n\0'), binary), binary.equals(await r.getBuffer(key('bin\r\n\0'))))
  say('strings delete', await r.del(key('a'), key('none')), await r.exists(key('a'), key('b')))
  say('strings type', await r.type(key('s')), await r.getset(key('s'), 'new'), await r.getdel(key('s')))
}

async function collections({ r, key }) {
  say('hashes', await r.hset(key('h'), { f1: '1', f2: 'two' }), await r.hgetall(key('h')), await r.hgetall(key('none')))
  say('hashes', await r.hincrby(key('h'), 'f1', 4), await r.hmget(key('h'), 'f1', 'none'), await r.hdel(key('h'), 'f2'))
  say('lists', await r.rpush(key('l'), 'a', 'b', 'c', 'd'), await r.lrange(key('l'), 0, -1))
  say('lists', await r.lpop(key('l')), await r.rpop(key('l'), 2), await r.lpop(key('none')), await r.llen(key('l')))
  say('sets', await r.sadd(key('set'), 'x', 'y', 'z'), (await r.smembers(key('set'))).sort())
  say('sets', await r.sismember(key('set'), 'x'), await r.srem(key('set'), 'x'), await r.scard(key('set')))
  say('zsets', await r.zadd(key('z'), 1, 'one', 0.5, 'half', 'inf', 'inf'), await r.zrange(key('z'), 0, -1, 'WITHSCORES'))
  say('zsets', await r.zscore(key('z'), 'half'), await r.zscore(key('z'), 'none'), await r.zrank(key('z'), 'inf'))
  say('zsets', await r.zpopmin(key('z')))
}

async function pipelines({ r, key }) {
  const pipeline = r.pipeline()
  for (let i = 0; i < 250; i++) pipeline.set(key(`p${i}`), i).get(key(`p${i}`)).incr(key('pn')).del(key(`p${i}`))
  const replies = await pipeline.exec()
  say('pipeline', replies.length, replies.slice(0, 4), replies.slice(-4), digest(JSON.stringify(replies)))
  const some = await r.pipeline().set(key('ps'), 'x').lpush(key('ps'), 'y').get(key('ps')).exec()
  say('pipeline error', some.map(([error, reply]) => error?.message ?? reply))
}

async function transactions({ r, other, connect, key }) {
  const replies = await r.multi().set(key('t'), '1').incr(key('t')).lpush(key('t'), 'wrong').get(key('t')).exec()
  say('multi', replies.map(([error, reply]) => error?.message ?? reply))
  const one = connect()
  for (const change of [false, true]) {
    await one.watch(key('t'))
    const value = Number(await one.get(key('t')))
    if (change) await other.set(key('t'), '100')
    say('watch', await one.multi().set(key('t'), value + 1).exec(), await one.get(key('t')))
  }
  say('execabort', await one.multi({ pipeline: false }), await one.set(key('t'), '9'))
  await shown('execabort', one.call('NOSUCHCOMMAND', 'a'))
  await shown('execabort', one.call('GET'))
  await shown('execabort', one.call('EXEC'))
  await shown('execabort', r.multi().set(key('t'), '9').call('NOSUCHCOMMAND', 'b').exec())
  say('discard', await one.call('MULTI'), await one.call('SET', key('t'), '9'), await one.call('DISCARD'), await one.get(key('t')))
  await shown('discard', one.call('EXEC'))
}

async function scripts({ r, key }) {
  const body = `return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])} -- ${process.hrtime.bigint()}`
  say('eval', await r.eval(body, 1, key('n'), 'argument'))
  say('eval', await r.eval("return {1, 'two', false, {ok='fine'}, {3, {4}}}", 0))
  await shown('eval', r.eval("return redis.error_reply('MINE own error')", 0))
  await shown('evalsha', r.evalsha('f'.repeat(40), 0))
  r.defineCommand('mine', { numberOfKeys: 1, lua: body + 'again' }) // EVALSHA, and EVAL after NOSCRIPT
  say('evalsha', await r.mine(key('n'), 'x'), await r.mine(key('n'), 'y'))
  const sha = await r.script('LOAD', "return 'loaded'")
  say('script load', sha, await r.script('EXISTS', sha, '0'.repeat(40)), await r.evalsha(sha, 0))
}

const blocked = (client) =>
  until('a blocked client', async () => (await client.client('LIST')).includes(' flags=b '))

async function served({ other }, section, waiting, push) {
  await blocked(other)
  await push()
  say(section, await waiting)
}

async function blocking(program) {
  const { r, other, connect, key } = program
  const one = connect()
  await served(program, 'blpop', one.blpop(key('{q}1'), key('{q}2'), 20), () => other.rpush(key('{q}2'), 'job'))
  const move = one.blmove(key('{q}1'), key('{q}2'), 'LEFT', 'RIGHT', 20)
  await served(program, 'blmove', move, () => other.rpush(key('{q}1'), 'moved'))
  say('blmove', await r.lrange(key('{q}2'), 0, -1))
  await served(program, 'bzpopmin', one.bzpopmin(key('bz'), 20), () => other.zadd(key('bz'), 2, 'member'))
  for (const how of ['TIMEOUT', 'ERROR']) {
    const id = await one.client('ID')
    const waiting = one.blpop(key('{q}1'), 20).catch((error) => error)
    await blocked(other)
    say('unblock', await other.client('UNBLOCK', id, how), await waiting)
  }
  say('blpop timeout', await one.blpop(key('{q}1'), 0.05), await one.blpop(key('{q}2'), 1))
}

async function streams(program) {
  const { r, other, connect, key } = program
  const one = connect()
  say('xadd', await r.xadd(key('x'), '1-1', 'f', '1'), await r.xadd(key('x'), '2-1', 'f', '2', 'g', '3'))
  say('xgroup', await r.xgroup('CREATE', key('x'), 'g', '0'), await r.xlen(key('x')))
  await shown('xgroup', r.xgroup('CREATE', key('x'), 'g', '0'))
  say('xreadgroup', await r.xreadgroup('GROUP', 'g', 'one', 'COUNT', 10, 'STREAMS', key('x'), '>'))
  const group = one.xreadgroup('GROUP', 'g', 'two', 'BLOCK', 20000, 'STREAMS', key('x'), '>')
  await served(program, 'xreadgroup block', group, () => other.xadd(key('x'), '3-1', 'f', 'late'))
  say('xreadgroup timeout', await one.xreadgroup('GROUP', 'g', 'two', 'BLOCK', 30, 'STREAMS', key('x'), '>'))
  const last = one.xread('BLOCK', 20000, 'STREAMS', key('x'), '$')
  await served(program, 'xread block', last, () => other.xadd(key('x'), '4-1', 'f', 'last'))
  say('xack', await r.xack(key('x'), 'g', '1-1', '9-9'), await r.xpending(key('x'), 'g'))
  const pending = await r.xpending(key('x'), 'g', '-', '+', 10)
  say('xpending', pending.map(([id, consumer, , times]) => [id, consumer, times]))
  say('xautoclaim', await r.xautoclaim(key('x'), 'g', 'two', 0, 0, 'COUNT', 10))
  say('xrange', await r.xrange(key('x'), '-', '+'), await r.xdel(key('x'), '1-1'))
}

async function pubsub({ other, connect, key }) {
  const sub = connect()
  const came = []
  sub.on('messageBuffer', (channel, data) => came.push(['message', String(channel), String(data)]))
  sub.on('pmessageBuffer', (pattern, channel, data) => came.push(['pmessage', pattern, String(channel), String(data)].map(String)))
  const messages = async (n) => {
    await until('a message', () => came.length >= n)
    return came.splice(0, n)
  }
  say('subscribe', await sub.subscribe(key('{ch}1'), key('{ch}2')), await sub.psubscribe(key('{ch}?')))
  say('pubsub', (await other.pubsub('CHANNELS', key('*'))).sort(), await other.pubsub('NUMSUB', key('{ch}1'), key('none')))
  say('pubsub', await other.pubsub('NUMPAT'), await sub.ping())
  say('publish', await other.publish(key('{ch}1'), '\0bin\r\n'), await other.publish(key('{ch}3'), 'three'))
  say('publish', await other.publish(key('nobody'), ''))
  say('message', await messages(3))
  say('unsubscribe', await sub.unsubscribe(key('{ch}1')))
  say('publish', await other.publish(key('{ch}1'), 'pattern only'))
  say('message', await messages(1))
  say('unsubscribe', await sub.punsubscribe(key('{ch}?')), await sub.unsubscribe(key('{ch}2')))
  say('publish', await other.publish(key('{ch}1'), 'none'))
  say('unsubscribe', await sub.get(key('n')), came)
}

async function all(stream) {
  const found = []
  for await (const page of stream) found.push(...page)
  return found
}

async function scans({ r, key }) {
  await r.mset(Object.fromEntries(count(300, (i) => [key(`scan${i}`), i])))
  await r.hset(key('bigh'), Object.fromEntries(count(700, (i) => [`f${i}`, i])))
  await r.sadd(key('bigs'), count(700, (i) => `m${i}`))
  const report = (section, found) => say(section, new Set(found).size, digest([...new Set(found)].sort().join()))
  report('scan', await all(r.scanStream({ match: key('scan*'), count: 20 })))
  report('hscan', (await all(r.hscanStream(key('bigh'), { count: 20 }))).filter((_, i) => i % 2 === 0))
  report('sscan', await all(r.sscanStream(key('bigs'), { count: 20 })))
}

async function large({ r, key }) {
  say('large set', await r.set(key('big'), big()), await r.strlen(key('big')))
  const got = await r.getBuffer(key('big'))
  say('large get', got.length, digest(got), await r.del(key('big')))
}

async function databases({ r, connect, key }) {
  const one = connect({ db: 1 })
  say('select', await one.set(key('db'), 'in 1'), await r.get(key('db')), await one.get(key('db')))
  say('select', await one.select(0), await one.get(key('db')), await one.select(1), await one.get(key('db')))
  await shown('select', one.select(99))
  say('select', await one.del(key('db')))
}

async function connection({ connect, key, cluster }) {
  const one = connect({ connectionName: key('given') })
  say('client', await one.client('GETNAME'), await one.client('SETNAME', key('name')), await one.client('GETNAME'))
  const id = await one.client('ID')
  say('client list', (await one.client('LIST')).split(` name=${key('name')} `).length - 1, Number.isInteger(id))
  const info = await one.client('INFO')
  say('client info', info.includes(` name=${key('name')} `), info.startsWith(`id=${id} `), / db=0 /.test(info))
  await shown('client', one.client('SETNAME', 'with space'))
  await shown('client', one.client('NO-EVICT', 'ON'))
  await shown('client', one.client('NO-EVICT', 'OFF'))
  await shown('client', one.client('NOSUCH'))
  if (one.options.protocol === 3 && !cluster) say('tracking', await one.client('TRACKING', 'ON'), await one.client('TRACKING', 'OFF'))
}

async function reset({ connect, key }) {
  const one = connect()
  say('reset', await one.client('SETNAME', 'gone'), await one.select(1), await one.call('MULTI'))
  say('reset', await one.call('RESET'), await one.client('GETNAME'), await one.get(key('n')))
}

async function auth({ r, connect, key, user, password }) {
  const alice = connect({ username: user, password })
  say('auth', await alice.acl('WHOAMI'), await alice.set(key('alice:k'), 'hers'), await alice.get(key('alice:k')))
  await shown('auth', alice.get(key('n')))
  await shown('auth', alice.keys('*'))
  await refused(connect, { username: user, password: 'wrong' })
  await refused(connect, { username: 'nobody', password })
  const one = connect()
  say('auth', await one.acl('WHOAMI'), await one.auth(user, password), await one.acl('WHOAMI'))
  await shown('auth', one.auth(user, 'wrong'))
  say('auth', await one.acl('WHOAMI'), await r.acl('WHOAMI'), await r.get(key('alice:k')))
}

async function refused(connect, login) {
  const one = connect({ ...login, lazyConnect: true })
  const errors = []
  one.on('error', (error) => errors.push(error))
  await shown('auth refused', one.connect())
  say('auth refused', ...errors)
}

async function errors({ r, key }) {
  await shown('errors', r.lpush(key('n'), 'x'))
  await shown('errors', r.call('NOSUCHCOMMAND', 'some', 'arguments'))
  await shown('errors', r.call('GET'))
  await shown('errors', r.set(key('n'), '1', 'BADOPTION'))
  await shown('errors', r.incr(key('b')))
  await shown('errors', r.config('NOSUCH'))
  say('errors', await r.ping())
}

async function concurrent({ connect, key }) {
  const lanes = count(10, () => connect())
  const task = async (_, i) => {
    const got = []
    for (let n = 0; n < 10; n++) got.push(await lanes[i % lanes.length].incr(key('count')))
    return got
  }
  const got = await Promise.all(Array.from({ length: 200 }, task))
  const seen = got.flat().sort((a, b) => a - b)
  const rising = got.every((numbers) => numbers.every((n, i) => i === 0 || numbers[i - 1] < n))
  say('concurrent', seen.length, seen.every((n, i) => n === i + 1), rising)
}

async function cleanup({ r, prefix }) {
  const keys = new Set(await all(r.scanStream({ match: prefix + '*', count: 500 })))
  say('cleanup', await r.del([...keys]))
}
