'use strict'
// node-redis against one server.
//
// usage: noderedis.js HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster]

const { BasicClientSideCache, RESP_TYPES, createClient, defineScript } = require('redis')
const { big, count, digest, run, say, shown, until } = require('./program.js')

run(async ({ host, port, protocol, user, password, cluster }) => {
  const clients = []
  const make = (options) => {
    const client = createClient({ socket: { host, port, reconnectStrategy: false }, RESP: protocol, ...options })
    client.on('error', () => {}) // commands report theirs
    return client
  }
  const connect = async (options) => {
    const client = await make(options).connect()
    clients.push(client)
    return client
  }
  const prefix = `noderedis:${protocol}:`
  const program = { make, connect, prefix, key: (name) => prefix + name, protocol, user, password }
  program.mine = defineScript({
    SCRIPT: `return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])} -- ${process.hrtime.bigint()}`,
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, name, argument) {
      parser.pushKey(name)
      parser.push(argument)
    },
    transformReply: (reply) => reply,
  })
  program.r = await connect({ scripts: { mine: program.mine } })
  program.other = await connect()

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
    if (protocol === 3) await caching(program)
  }
  if (user) await auth(program)
  await errors(program)
  await concurrent(program)
  await cleanup(program)
  say('close', clients.length, (await Promise.all(clients.map((client) => client.close()))).length)
})

async function hello({ r }) {
  const { server, proto, mode, role } = await r.hello()
  say('hello', server, proto, mode, role)
  say('ping', await r.ping(), await r.echo('hello'))
}

async function strings({ r, key }) {
  say('strings set', await r.set(key('s'), 'value'), await r.set(key('s'), 'no', { condition: 'NX' }))
  say('strings get', await r.get(key('s')), await r.get(key('none')))
  say('strings incr', await r.incr(key('n')), await r.incrBy(key('n'), 41), await r.incrByFloat(key('f'), 1.5))
  say('strings append', await r.append(key('s'), '-more'), await r.getRange(key('s'), 3, 7))
  say('strings mset', await r.mSet({ [key('a')]: '1', [key('b')]: '', [key('c')]: '3' }))
  say('strings mget', await r.mGet([key('a'), key('b'), key('none'), key('c')]))
  const binary = Buffer.concat([Buffer.from(count(256, (i) => i)), Buffer.from('\r\n\0$5\r\nhello\r\n*0\r\n\0')])
  const buffers = r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  say('strings binary', await r.set(key('bin\r\n\0'), binary), binary.equals(await buffers.get(key('bin\r\n\0'))))
  say('strings delete', await r.del([key('a'), key('none')]), await r.exists([key('a'), key('b')]))
  say('strings type', await r.type(key('s')), await r.getSet(key('s'), 'new'), await r.getDel(key('s')))
}

async function collections({ r, key }) {
  say('hashes', await r.hSet(key('h'), { f1: '1', f2: 'two' }), await r.hGetAll(key('h')), await r.hGetAll(key('none')))
  say('hashes', await r.hIncrBy(key('h'), 'f1', 4), await r.hmGet(key('h'), ['f1', 'none']), await r.hDel(key('h'), 'f2'))
  say('lists', await r.rPush(key('l'), ['a', 'b', 'c', 'd']), await r.lRange(key('l'), 0, -1))
  say('lists', await r.lPop(key('l')), await r.rPopCount(key('l'), 2), await r.lPop(key('none')), await r.lLen(key('l')))
  say('sets', await r.sAdd(key('set'), ['x', 'y', 'z']), (await r.sMembers(key('set'))).sort())
  say('sets', await r.sIsMember(key('set'), 'x'), await r.sRem(key('set'), 'x'), await r.sCard(key('set')))
  const members = [{ score: 1, value: 'one' }, { score: 0.5, value: 'half' }, { score: Infinity, value: 'inf' }]
  say('zsets', await r.zAdd(key('z'), members), await r.zRangeWithScores(key('z'), 0, -1))
  say('zsets', await r.zScore(key('z'), 'half'), await r.zScore(key('z'), 'none'), await r.zRank(key('z'), 'inf'))
  say('zsets', await r.zPopMin(key('z')))
}

async function pipelines({ r, key }) {
  const commands = []
  for (let i = 0; i < 250; i++) {
    commands.push(r.set(key(`p${i}`), i), r.get(key(`p${i}`)), r.incr(key('pn')), r.del(key(`p${i}`)))
  }
  const replies = await Promise.all(commands)
  say('pipeline', replies.length, replies.slice(0, 4), replies.slice(-4), digest(JSON.stringify(replies)))
  const some = await Promise.allSettled([r.set(key('ps'), 'x'), r.lPush(key('ps'), 'y'), r.get(key('ps'))])
  say('pipeline error', some.map(({ reason, value }) => reason?.message ?? value))
  say('pipeline', await r.multi().set(key('ps'), 'z').get(key('ps')).execAsPipeline())
}

async function transactions({ r, other, connect, key }) {
  say('multi', await r.multi().set(key('t'), '1').incr(key('t')).get(key('t')).exec())
  try {
    await r.multi().set(key('t'), '2').lPush(key('t'), 'wrong').get(key('t')).exec()
  } catch (error) {
    say('multi error', error, error.replies?.map((reply) => reply.message ?? reply), error.errorIndexes)
  }
  const one = await connect()
  for (const change of [false, true]) {
    await one.watch(key('t'))
    const value = Number(await one.get(key('t')))
    if (change) await other.set(key('t'), '100')
    await shown('watch', one.multi().set(key('t'), String(value + 1)).exec())
    say('watch', await one.get(key('t')))
  }
  await shown('execabort', one.multi().set(key('t'), '9').addCommand(['NOSUCHCOMMAND', 'b']).exec())
  say('execabort', await one.sendCommand(['MULTI']), await one.sendCommand(['SET', key('t'), '9']))
  await shown('execabort', one.sendCommand(['NOSUCHCOMMAND', 'a']))
  await shown('execabort', one.sendCommand(['GET']))
  await shown('execabort', one.sendCommand(['EXEC']))
  say('discard', await one.sendCommand(['MULTI']), await one.sendCommand(['SET', key('t'), '9']))
  say('discard', await one.sendCommand(['DISCARD']), await one.get(key('t')))
  await shown('discard', one.sendCommand(['EXEC']))
}

async function scripts({ r, key, mine }) {
  say('eval', await r.eval(mine.SCRIPT + 'once', { keys: [key('n')], arguments: ['argument'] }))
  say('eval', await r.eval("return {1, 'two', false, {ok='fine'}, {3, {4}}}"))
  await shown('eval', r.eval("return redis.error_reply('MINE own error')"))
  await shown('evalsha', r.evalSha('f'.repeat(40)))
  say('evalsha', await r.mine(key('n'), 'x'), await r.mine(key('n'), 'y')) // EVALSHA, and EVAL after NOSCRIPT
  const sha = await r.scriptLoad("return 'loaded'")
  say('script load', sha, await r.scriptExists([sha, '0'.repeat(40)]), await r.evalSha(sha))
}

const blocked = (client) =>
  until('a blocked client', async () => (await client.sendCommand(['CLIENT', 'LIST'])).includes(' flags=b '))

async function served({ other }, section, waiting, push) {
  await blocked(other)
  await push()
  say(section, await waiting)
}

async function blocking(program) {
  const { r, other, connect, key } = program
  const one = await connect()
  await served(program, 'blpop', one.blPop([key('{q}1'), key('{q}2')], 20), () => other.rPush(key('{q}2'), 'job'))
  const move = one.blMove(key('{q}1'), key('{q}2'), 'LEFT', 'RIGHT', 20)
  await served(program, 'blmove', move, () => other.rPush(key('{q}1'), 'moved'))
  say('blmove', await r.lRange(key('{q}2'), 0, -1))
  const pop = one.bzPopMin(key('bz'), 20)
  await served(program, 'bzpopmin', pop, () => other.zAdd(key('bz'), { score: 2, value: 'member' }))
  for (const how of ['TIMEOUT', 'ERROR']) {
    const id = await one.clientId()
    const waiting = one.blPop(key('{q}1'), 20).catch((error) => error)
    await blocked(other)
    say('unblock', await other.sendCommand(['CLIENT', 'UNBLOCK', String(id), how]), await waiting)
  }
  say('blpop timeout', await one.blPop(key('{q}1'), 0.05), await one.blPop(key('{q}2'), 1))
}

async function streams(program) {
  const { r, other, connect, key } = program
  const one = await connect()
  const all = [{ key: key('x'), id: '>' }]
  say('xadd', await r.xAdd(key('x'), '1-1', { f: '1' }), await r.xAdd(key('x'), '2-1', { f: '2', g: '3' }))
  say('xgroup', await r.xGroupCreate(key('x'), 'g', '0'), await r.xLen(key('x')))
  await shown('xgroup', r.xGroupCreate(key('x'), 'g', '0'))
  say('xreadgroup', await r.xReadGroup('g', 'one', all, { COUNT: 10 }))
  const group = one.xReadGroup('g', 'two', all, { BLOCK: 20000 })
  await served(program, 'xreadgroup block', group, () => other.xAdd(key('x'), '3-1', { f: 'late' }))
  say('xreadgroup timeout', await one.xReadGroup('g', 'two', all, { BLOCK: 30 }))
  const last = one.xRead([{ key: key('x'), id: '$' }], { BLOCK: 20000 })
  await served(program, 'xread block', last, () => other.xAdd(key('x'), '4-1', { f: 'last' }))
  say('xack', await r.xAck(key('x'), 'g', ['1-1', '9-9']), await r.xPending(key('x'), 'g'))
  const pending = await r.xPendingRange(key('x'), 'g', '-', '+', 10)
  say('xpending', pending.map(({ id, consumer, deliveriesCounter }) => [id, consumer, deliveriesCounter]))
  say('xautoclaim', await r.xAutoClaim(key('x'), 'g', 'two', 0, '0', { COUNT: 10 }))
  say('xrange', await r.xRange(key('x'), '-', '+'), await r.xDel(key('x'), '1-1'))
}

async function pubsub({ other, connect, key }) {
  const sub = await connect()
  const came = []
  const messages = async (n) => {
    await until('a message', () => came.length >= n)
    return came.splice(0, n)
  }
  const listener = (how) => (data, channel) => came.push([how, channel, data])
  await sub.subscribe([key('{ch}1'), key('{ch}2')], listener('message'))
  await sub.pSubscribe(key('{ch}?'), listener('pmessage'))
  say('pubsub', (await other.pubSubChannels(key('*'))).sort(), await other.pubSubNumSub([key('{ch}1'), key('none')]))
  say('pubsub', await other.pubSubNumPat(), await sub.ping())
  say('publish', await other.publish(key('{ch}1'), '\0bin\r\n'), await other.publish(key('{ch}3'), 'three'))
  say('publish', await other.publish(key('nobody'), ''))
  say('message', await messages(3))
  await sub.unsubscribe(key('{ch}1'))
  say('publish', await other.publish(key('{ch}1'), 'pattern only'))
  say('message', await messages(1))
  await sub.pUnsubscribe()
  await sub.unsubscribe()
  say('publish', await other.publish(key('{ch}1'), 'none'))
  say('unsubscribe', await sub.get(key('n')), came)
}

async function scans({ r, key }) {
  await r.mSet(Object.fromEntries(count(300, (i) => [key(`scan${i}`), String(i)])))
  await r.hSet(key('bigh'), Object.fromEntries(count(700, (i) => [`f${i}`, String(i)])))
  await r.sAdd(key('bigs'), count(700, (i) => `m${i}`))
  const report = async (section, pages) => {
    const found = new Set()
    for await (const page of pages) for (const item of page) found.add(item.field ?? item)
    say(section, found.size, digest([...found].sort().join()))
  }
  await report('scan', r.scanIterator({ MATCH: key('scan*'), COUNT: 20 }))
  await report('hscan', r.hScanIterator(key('bigh'), { COUNT: 20 }))
  await report('sscan', r.sScanIterator(key('bigs'), { COUNT: 20 }))
}

async function large({ r, key }) {
  say('large set', await r.set(key('big'), big()), await r.strLen(key('big')))
  const got = await r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get(key('big'))
  say('large get', got.length, digest(got), await r.del(key('big')))
}

async function databases({ r, connect, key }) {
  const one = await connect({ database: 1 })
  say('select', await one.set(key('db'), 'in 1'), await r.get(key('db')), await one.get(key('db')))
  await one.select(0)
  say('select', await one.get(key('db')))
  await one.select(1)
  say('select', await one.get(key('db')))
  await shown('select', one.select(99))
  say('select', await one.del(key('db')))
}

async function connection({ connect, key }) {
  const one = await connect({ name: key('given') })
  say('client', await one.clientGetName(), await one.clientSetName(key('name')), await one.clientGetName())
  const id = await one.clientId()
  const listed = (await one.clientList()).filter(({ name }) => name === key('name'))
  say('client list', listed.length, Number.isInteger(id))
  const info = await one.clientInfo()
  say('client info', info.name === key('name'), info.id === id, info.db, info.user)
  await shown('client', one.clientSetName('with space'))
  await shown('client', one.clientNoEvict(true))
  await shown('client', one.clientNoEvict(false))
  await shown('client', one.sendCommand(['CLIENT', 'NOSUCH']))
}

async function reset({ connect, key }) {
  const one = await connect()
  await one.select(1)
  say('reset', await one.clientSetName('gone'), await one.get(key('n')))
  await one.reset()
  say('reset', await one.clientGetName(), await one.get(key('n')))
}

async function caching({ connect, other, key }) {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: 'LRU' })
  const one = await connect({ clientSideCache: cache })
  await other.set(key('cached'), 'first')
  say('caching', await one.get(key('cached')), await one.get(key('cached')), await one.get(key('cached')))
  say('caching', cache.stats().hitCount, cache.stats().missCount)
  await other.set(key('cached'), 'second')
  await until('the invalidation', async () => (await one.get(key('cached'))) === 'second')
  say('caching', await one.get(key('cached')), cache.stats().missCount, await other.del(key('cached')))
}

async function auth({ r, make, connect, key, user, password }) {
  const alice = await connect({ username: user, password })
  say('auth', await alice.aclWhoAmI(), await alice.set(key('alice:k'), 'hers'), await alice.get(key('alice:k')))
  await shown('auth', alice.get(key('n')))
  await shown('auth', alice.keys('*'))
  await shown('auth wrong password', make({ username: user, password: 'wrong' }).connect())
  await shown('auth no such user', make({ username: 'nobody', password }).connect())
  const one = await connect()
  say('auth', await one.aclWhoAmI(), await one.auth({ username: user, password }), await one.aclWhoAmI())
  await shown('auth', one.auth({ username: user, password: 'wrong' }))
  say('auth', await one.aclWhoAmI(), await r.aclWhoAmI(), await r.get(key('alice:k')))
}

async function errors({ r, key }) {
  await shown('errors', r.lPush(key('n'), 'x'))
  await shown('errors', r.sendCommand(['NOSUCHCOMMAND', 'some', 'arguments']))
  await shown('errors', r.sendCommand(['GET']))
  await shown('errors', r.sendCommand(['SET', key('n'), '1', 'BADOPTION']))
  await shown('errors', r.incr(key('b')))
  await shown('errors', r.sendCommand(['CONFIG', 'NOSUCH']))
  say('errors', await r.ping())
}

async function concurrent({ connect, key }) {
  const lanes = await Promise.all(count(10, () => connect()))
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
  const keys = new Set()
  for await (const page of r.scanIterator({ MATCH: prefix + '*', COUNT: 500 })) for (const name of page) keys.add(name)
  say('cleanup', await r.del([...keys]))
}
