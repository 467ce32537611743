// Writes the list of common passwords that ships with the binary, from the one of
// @zxcvbn-ts/language-common: npm ci && npm run generate
//
// The words are sorted and cut into blocks of sixteen, so that a reader finds the
// block by halving and reads no more than that. Within a block each word says only
// what differs from the one before it:
//
//   u32   number of words
//   u32   number of blocks
//   u32   for each block, where it begins, counted from the first one
//   words one byte: how many characters it shares with the word before (high half,
//         0 at the beginning of a block), and the power of two below its rank
//         (low half: 0 for the most common one, 15 for those after the 32,768th);
//         then its other characters, the last of which has the high bit set
import { writeFileSync } from 'node:fs'
import { dictionary } from '@zxcvbn-ts/language-common'

const BLOCK = 16
const ranks = new Map()
for (const [index, word] of dictionary['passwords-common'].entries()) {
  // A reader folds what it looks for: lower case, and nothing beyond ASCII.
  if (!/^[!-@[-~]+$/.test(word)) throw new Error(`cannot be written: ${word}`)
  if (!ranks.has(word)) ranks.set(word, Math.min(15, Math.floor(Math.log2(index + 1))))
}
const words = [...ranks.keys()].sort((a, b) => (a < b ? -1 : 1)) // ASCII: by bytes

const starts = []
const bytes = []
let before = ''
for (const [index, word] of words.entries()) {
  if (index % BLOCK === 0) {
    starts.push(bytes.length)
    before = ''
  }
  let shared = 0
  while (shared < 15 && shared < word.length - 1 && word[shared] === before[shared]) shared++
  bytes.push((shared << 4) | ranks.get(word))
  for (let i = shared; i < word.length; i++) bytes.push(word.charCodeAt(i) | (i === word.length - 1 ? 0x80 : 0))
  before = word
}

const head = Buffer.alloc(8 + 4 * starts.length)
head.writeUInt32BE(words.length, 0)
head.writeUInt32BE(starts.length, 4)
starts.forEach((start, block) => head.writeUInt32BE(start, 8 + 4 * block))
writeFileSync(process.argv[2], Buffer.concat([head, Buffer.from(bytes)]))
console.log(`${words.length} words in ${head.length + bytes.length} bytes`)
