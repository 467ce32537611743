package redis

import "github.com/redis/rueidis"

// The fields of a session's hash. Only birth, epoch and rotation are always there.
//
// Scripts compare bytes and join them, and never count: a number of Lua is a
// double, and would round a time.
const (
	fieldBirth    = "b" // what never changes, see appendBirth
	fieldEpoch    = "e"
	fieldCarried  = "c" // epochs under which the session lives as well, should one become the user's; mostly none
	fieldSecret   = "h" // hash of the current secret; none in an ended session, and nothing equals that
	fieldRecent   = "k" // when the latest rotation was, and the recent keys
	fieldRotation = "r" // what else a rotation replaces, see appendRotation
	fieldBegun    = "y" // an ending of which Redis does not know whether it came to pass, see appendBegun
	fieldEnding   = "x" // see appendEnding
)

// create: birth, epoch, secret hash, recent, rotation, lifetime.
var createScript = rueidis.NewLuaScript(`
redis.call('HSET', KEYS[1], 'b', ARGV[1], 'e', ARGV[2], 'h', ARGV[3], 'k', ARGV[4], 'r', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[6])
return ''`)

// rotate: presented hash, user's epoch, successor's hash, recent (its time and the
// new key), rotation, lifetime, the field of an ending that was begun as the caller has
// judged it, and whether to forget that. It returns the recent field as it was, and
// nothing but empty text, having done nothing, if another ending was begun.
//
// A session that was carried to the user's epoch is of that epoch from now on. What
// else was noted is forgotten: those changes rested on an older epoch, and SQL has
// refused them. One that rests on this epoch would have made it the session's.
var rotateScript = rueidis.NewLuaScript(`
local f = redis.call('HMGET', KEYS[1], 'h', 'e', 'k', 'c', 'y')
if f[1] ~= ARGV[1] then return false end
if (f[5] or '') ~= ARGV[7] then return '' end
if f[2] ~= ARGV[2] then
  local carried = false
  for i = 1, #(f[4] or ''), 8 do
    carried = carried or string.sub(f[4], i, i + 7) == ARGV[2]
  end
  if not carried then return false end
  redis.call('HSET', KEYS[1], 'e', ARGV[2])
  redis.call('HDEL', KEYS[1], 'c')
end
redis.call('HSET', KEYS[1], 'h', ARGV[3], 'k', ARGV[4] .. string.sub(f[3], 9, 120), 'r', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[6])
if ARGV[8] ~= '' then redis.call('HDEL', KEYS[1], 'y') end
return f[3]`)

// begin: the note of an ending. The latest of several is kept: it is the last to be
// made true.
var beginScript = rueidis.NewLuaScript(`
if not redis.call('HGET', KEYS[1], 'h') then return false end
redis.call('HSET', KEYS[1], 'y', ARGV[1])
return ''`)

// end: ending. A session without a secret has ended.
var endScript = rueidis.NewLuaScript(`
if redis.call('HDEL', KEYS[1], 'h') == 0 then return false end
redis.call('HDEL', KEYS[1], 'y')
redis.call('HSET', KEYS[1], 'x', ARGV[1])
return ''`)

// carry: user ID, user's epoch, new epoch. Epochs are noted one after the other,
// since changes that race do not know which of them SQL will accept. 64 are kept: so
// many changes of one user are never on their way at once.
var carryScript = rueidis.NewLuaScript(`
local f = redis.call('HMGET', KEYS[1], 'h', 'b', 'e', 'c')
if not f[1] or string.sub(f[2], 2, 17) ~= ARGV[1] then return false end
local noted = f[4] or ''
if f[3] ~= ARGV[2] then
  local carried = false
  for i = 1, #noted, 8 do
    carried = carried or string.sub(noted, i, i + 7) == ARGV[2]
  end
  if not carried then return false end
  redis.call('HSET', KEYS[1], 'e', ARGV[2])
  noted = ''
end
redis.call('HSET', KEYS[1], 'c', string.sub(noted .. ARGV[3], -512))
return ''`)

// putBack: an epoch to which the session was not carried after all.
var putBackScript = rueidis.NewLuaScript(`
local noted = redis.call('HGET', KEYS[1], 'c') or ''
for i = 1, #noted, 8 do
  if string.sub(noted, i, i + 7) == ARGV[1] then
    redis.call('HSET', KEYS[1], 'c', string.sub(noted, 1, i - 1) .. string.sub(noted, i + 8))
    return ''
  end
end
return false`)

// enter: index entry, lifetime. It returns the two oldest entries, end to end.
var enterScript = rueidis.NewLuaScript(`
redis.call('ZADD', KEYS[1], 0, ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return table.concat(redis.call('ZRANGE', KEYS[1], '-', '+', 'BYLEX', 'LIMIT', 0, 2))`)
