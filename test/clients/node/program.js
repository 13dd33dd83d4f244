'use strict'
// What the Node programs share: arguments, the report's lines and the time limit.

const { createHash } = require('node:crypto')
const { inspect, parseArgs } = require('node:util')

const LIMIT = 60 // seconds that a program may take
const BIG = 64 << 20 // bytes of the large value

function parse() {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { auth: { type: 'string' }, cluster: { type: 'boolean' } } })
  const [host, port, protocol] = positionals
  if (positionals.length !== 3 || !['2', '3'].includes(protocol)) {
    console.error('usage: PROGRAM HOST PORT 2|3 [--auth USER:PASSWORD] [--cluster]')
    process.exit(2)
  }
  const [user, password] = (values.auth ?? '').split(':')
  return { host, port: Number(port), protocol: Number(protocol), user, password, cluster: Boolean(values.cluster) }
}

function show(value) {
  return inspect(value, { depth: 10, breakLength: Infinity, compact: true, maxArrayLength: null, maxStringLength: null })
}

// say prints a line of the report.
function say(section, ...values) {
  process.stdout.write(`${section}: ${values.map((v) => (v instanceof Error ? `${v.name}: ${v.message}` : show(v))).join(' ')}\n`)
}

// shown reports what comes, a reply or the server's error.
async function shown(section, promise) {
  try {
    say(section, await promise)
  } catch (error) {
    say(section, error)
  }
}

const big = () => Buffer.alloc(BIG, Buffer.from(Array.from({ length: 256 }, (_, i) => i)))

const digest = (data) => createHash('sha256').update(data).digest('hex')

const count = (n, each) => Array.from({ length: n }, (_, i) => each(i))

// until waits for something that the server tells.
async function until(what, holds) {
  for (const end = Date.now() + 10000; !(await holds()); await new Promise((wake) => setTimeout(wake, 2))) {
    if (Date.now() > end) throw new Error(`${what} does not come`)
  }
}

// run runs a program. It ends by itself once every connection is closed: one that stays
// open is found by the time limit.
function run(program) {
  const over = setTimeout(() => {
    console.error(`not done after ${LIMIT} s, or a connection stays open`)
    process.exit(3)
  }, LIMIT * 1000)
  program(parse()).then(
    () => setTimeout(() => over.unref(), 0),
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )
}

module.exports = { big, count, digest, run, say, shown, until }
