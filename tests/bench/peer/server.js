// What a user would write instead of mintd's intake and status: fastify with better-sqlite3, the same durability (WAL, FULL), a
// multi-row insert per request, prepared statements. usage: node server.js DATABASE; prints its port.
'use strict'
const Database = require('better-sqlite3')
const app = require('fastify')({ bodyLimit: 64 << 20 })
const crypto = require('crypto')

const db = new Database(process.argv[2])
db.pragma('journal_mode = WAL')
db.pragma('synchronous = FULL')
db.exec(`
  CREATE TABLE requests (id INTEGER PRIMARY KEY, venue TEXT NOT NULL, hash BLOB NOT NULL, n INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL,
                         created_at INTEGER NOT NULL);
  CREATE TABLE items (id INTEGER PRIMARY KEY, request INTEGER NOT NULL, ticket TEXT NOT NULL, venue TEXT NOT NULL, body TEXT NOT NULL, extra TEXT,
                      UNIQUE (ticket, venue));
`)
const addRequest = db.prepare('INSERT INTO requests (venue, hash, n, done, failed, created_at) VALUES (?, ?, ?, 0, 0, ?)')
const getRequest = db.prepare('SELECT * FROM requests WHERE id = ?')
const ROWS = 100
const insert = n => db.prepare('INSERT INTO items (request, ticket, venue, body, extra) VALUES ' + Array(n).fill('(?,?,?,?,?)').join(','))
const many = insert(ROWS)
const one = insert(1)
const accept = db.transaction((venue, tickets, hash) => {
  const request = addRequest.run(venue, hash, tickets.length, Date.now()).lastInsertRowid
  const row = t => [request, t.id, venue, JSON.stringify({ name: t.ticketData.eventName, attributes: t.ticketData }),
    JSON.stringify({ eventId: t.eventId, userId: t.userId })]
  let at = 0
  for (; at + ROWS <= tickets.length; at += ROWS) many.run(tickets.slice(at, at + ROWS).flatMap(row))
  for (; at < tickets.length; at++) one.run(row(tickets[at]))
  return request
})

const ticket = {
  type: 'object', required: ['id', 'ticketData'],
  properties: { id: { type: 'string', minLength: 1, maxLength: 128 }, eventId: { type: 'string' }, userId: { type: 'string' }, ticketData: { type: 'object' } }
}
app.post('/admin/batch-mint', {
  schema: { body: { type: 'object', required: ['venueId', 'tickets'], properties: { venueId: { type: 'string' }, tickets: { type: 'array', items: ticket } } } }
}, async (request, reply) => {
  const { venueId, tickets } = request.body
  const hash = crypto.createHash('sha256').update(JSON.stringify(request.body)).digest()
  const id = accept(venueId, tickets, hash)
  reply.code(202).header('Location', `/v1/batches/${id}`)
  return { batchId: String(id), state: 'accepted', total: tickets.length, links: { self: `/v1/batches/${id}` } }
})
app.get('/v1/batches/:id', async (request, reply) => {
  const r = getRequest.get(request.params.id)
  if (!r) return reply.code(404).send({ error: 'unknown' })
  return { batchId: String(r.id), venueId: r.venue, state: 'running', createdAt: new Date(r.created_at).toISOString(),
    summary: { total: r.n, succeeded: r.done, failed: r.failed }, items: { open: r.n - r.done - r.failed, minted: r.done, failed: r.failed },
    links: { self: `/v1/batches/${r.id}`, tickets: `/v1/batches/${r.id}/tickets` } }
})
app.listen({ host: '127.0.0.1', port: 0 }).then(() => console.log(app.server.address().port))
