// Texts in a PNG file, for machines (ISO/IEC 15948, 11.3.4.5).

// CRC of chunks (annex D).
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

export function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

// The PNG with texts by their keywords, as iTXt chunks behind its header.
export function withText(png, texts) {
  const HEADER = 33; // signature and IHDR
  const chunks = Object.entries(texts).map(([keyword, words]) => {
    const data = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${words}`);
    const chunk = new Uint8Array(data.length + 8);
    const numbers = new DataView(chunk.buffer);
    numbers.setUint32(0, data.length - 4);
    chunk.set(data, 4);
    numbers.setUint32(data.length + 4, crc(data));
    return chunk;
  });
  return new Blob([png.slice(0, HEADER), ...chunks, png.slice(HEADER)], { type: "image/png" });
}
