/// The ids of words met before, by the word's bytes. Belongs to one thread at a time; forgets everything when it is full.
final class WordCache {
    private struct Slot {
        var hash: UInt64
        var keyStart: UInt32
        var keyCount: UInt16
        var idCount: UInt16
        /// Where the ids are, or the id itself when it is one. `keyCount` 0: the slot is empty.
        var ids: UInt32
    }

    /// Longer words are not kept.
    static let longestWord = 64
    private static let slotCount = 1 << 16
    private static let entryLimit = slotCount / 2
    private static let keyRoom = entryLimit * 16
    private static let idRoom = entryLimit * 4

    private let slots = UnsafeMutablePointer<Slot>.allocate(capacity: slotCount)
    private let keys = UnsafeMutablePointer<UInt8>.allocate(capacity: keyRoom)
    private let ids = UnsafeMutablePointer<Int32>.allocate(capacity: idRoom)
    private var entries = 0
    private var keyCount = 0
    private var idCount = 0

    init() { clear() }

    deinit {
        slots.deallocate()
        keys.deallocate()
        ids.deallocate()
    }

    private func clear() {
        slots.initialize(
            repeating: Slot(hash: 0, keyStart: 0, keyCount: 0, idCount: 0, ids: 0), count: Self.slotCount)
        (entries, keyCount, idCount) = (0, 0, 0)
    }

    /// Appends the ids of `word` to `result` when they are known.
    @inline(__always)
    func append(_ word: Bytes, hash: UInt64, to result: inout [Int32]) -> Bool {
        var index = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
        while true {
            let slot = slots[index]
            if slot.keyCount == 0 { return false }
            if slot.hash == hash, Int(slot.keyCount) == word.count, isSame(word, keys + Int(slot.keyStart)) {
                if slot.idCount == 1 {
                    result.append(Int32(bitPattern: slot.ids))
                } else {
                    result.append(contentsOf: UnsafeBufferPointer(start: ids + Int(slot.ids), count: Int(slot.idCount)))
                }
                return true
            }
            index = (index + 1) & (Self.slotCount - 1)
        }
    }

    @inline(__always)
    private func isSame(_ word: Bytes, _ key: UnsafeMutablePointer<UInt8>) -> Bool {
        var position = 0
        while position < word.count {
            if word[position] != key[position] { return false }
            position += 1
        }
        return true
    }

    /// Keeps the ids of a word that is not known yet, of at most `longestWord` bytes.
    func insert(_ word: Bytes, hash: UInt64, ids newIDs: ArraySlice<Int32>) {
        if entries == Self.entryLimit || keyCount + word.count > Self.keyRoom || idCount + newIDs.count > Self.idRoom {
            clear()
        }
        var index = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
        while slots[index].keyCount != 0 { index = (index + 1) & (Self.slotCount - 1) }
        let value: UInt32
        if newIDs.count == 1, let id = newIDs.first {
            value = UInt32(bitPattern: id)
        } else {
            value = UInt32(idCount)
            for id in newIDs {
                ids[idCount] = id
                idCount += 1
            }
        }
        slots[index] = Slot(
            hash: hash, keyStart: UInt32(keyCount), keyCount: UInt16(word.count), idCount: UInt16(newIDs.count),
            ids: value)
        for byte in word {
            keys[keyCount] = byte
            keyCount += 1
        }
        entries += 1
    }
}
