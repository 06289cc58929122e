import RetortDistillation
import Testing

@Suite("Similarity of sentences")
struct SentenceSimilarityTests {
    @Test("ranks: equal numbers share the mean of their places")
    func ranks() {
        #expect(SentenceSimilarity.ranks([10, 20, 10, 5]) == [2.5, 4, 2.5, 1])
        #expect(SentenceSimilarity.ranks([7, 7, 7]) == [2, 2, 2])
        #expect(SentenceSimilarity.ranks([0, -0.0, -.infinity, .infinity]) == [2.5, 2.5, 1, 4])
        #expect(SentenceSimilarity.ranks([]) == [])
    }

    /// The two numbers come from a calculation in whole fractions.
    @Test("correlations with and without ties")
    func correlations() throws {
        let x = [1.0, 2, 2, 4, 5.5, 3, 2, 8]
        let y = [2.0, 1, 3, 3, 9, 3, 0.5, 7]
        #expect(abs(try #require(SentenceSimilarity.spearman(x, y)) - 0.8) < 1e-12)
        #expect(abs(try #require(SentenceSimilarity.pearson(x, y)) - 0.8260388818793575) < 1e-12)
        let distinct = [0.3, 0.1, 0.9, 0.5, 0.7]
        #expect(abs(try #require(SentenceSimilarity.spearman(distinct, distinct.map { $0 * $0 * $0 })) - 1) < 1e-12)
        #expect(abs(try #require(SentenceSimilarity.spearman(distinct, distinct.map { -$0 })) + 1) < 1e-12)
        // 1 − 6 Σ d² / (n (n² − 1)), where no two are equal.
        #expect(abs(try #require(SentenceSimilarity.spearman(distinct, [1, 2, 3, 4, 5])) - 0.6) < 1e-12)
    }

    @Test("no value where there is none")
    func undefined() {
        #expect(SentenceSimilarity.spearman([1, 1, 1], [1, 2, 3]) == nil)
        #expect(SentenceSimilarity.spearman([1], [2]) == nil)
        #expect(SentenceSimilarity.spearman([], []) == nil)
        #expect(SentenceSimilarity.spearman([1, .nan], [1, 2]) == nil)
    }

    @Test("the cosine of vectors")
    func cosine() {
        #expect(SentenceSimilarity.cosine([3, 4], [3, 4]) == 1)
        #expect(SentenceSimilarity.cosine([3, 4], [-3, -4]) == -1)
        #expect(SentenceSimilarity.cosine([1, 0], [0, 2]) == 0)
        #expect(SentenceSimilarity.cosine([0, 0], [1, 2]) == 0)
        #expect(abs(SentenceSimilarity.cosine([1, 2, 3], [4, -5, 6]) - 12 / (14.0 * 77).squareRoot()) < 1e-15)
        // Squares of such numbers are beyond a Float.
        #expect(SentenceSimilarity.cosine([1e30, 0], [1e30, 0]) == 1)
    }
}
