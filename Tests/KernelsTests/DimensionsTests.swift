import Testing

@testable import RetortKernels

@Suite("Dimensions")
struct DimensionsTests {
    @Test("are what an array of the same numbers is")
    func likeAnArray() {
        for array in [[], [7], [2, 3, 5], [1, 2, 3, 4, 5, 6, 7, 8]] as [[Int]] {
            let dimensions = Dimensions(array)
            #expect(Array(dimensions) == array && dimensions.count == array.count)
            #expect(dimensions.description == array.description)
            #expect(dimensions.product == array.reduce(1, *))
            for n in 0...9 {
                #expect(Array(dimensions.prefix(n)) == Array(array.prefix(n)))
                #expect(Array(dimensions.suffix(n)) == Array(array.suffix(n)))
                #expect(Array(dimensions.dropFirst(n)) == Array(array.dropFirst(n)))
                #expect(Array(dimensions.dropLast(n)) == Array(array.dropLast(n)))
            }
        }
    }

    @Test("change like an array")
    func changes() {
        var (dimensions, array): (Dimensions, [Int]) = ([2, 3, 5, 7], [2, 3, 5, 7])
        dimensions.swapAt(0, 3)
        array.swapAt(0, 3)
        dimensions.replaceSubrange(1..<3, with: [11, 13, 17])
        array.replaceSubrange(1..<3, with: [11, 13, 17])
        dimensions.insert(19, at: 2)
        array.insert(19, at: 2)
        dimensions.remove(at: 0)
        array.remove(at: 0)
        #expect(Array(dimensions) == array)
        let (longer, longerArray): (Dimensions, [Int]) = ([1] + dimensions, [1] + array)
        #expect(Array(longer) == longerArray)
    }

    /// Numbers behind the last dimension are remains of other shapes and count for nothing.
    @Test("are equal when what they hold is")
    func equality() {
        var longer: Dimensions = [2, 3, 9]
        longer.removeLast()
        #expect(longer == [2, 3] && longer.hashValue == ([2, 3] as Dimensions).hashValue)
        #expect(Dimensions(repeating: 1, count: 2) == [1, 1] && Dimensions(repeating: 1, count: 2) != [1, 1, 1])
        #expect([2, 3] as Dimensions != [3, 2])
    }
}
