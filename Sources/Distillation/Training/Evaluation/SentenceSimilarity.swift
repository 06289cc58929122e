/// How well vectors of texts say what people said of pairs of texts.
public enum SentenceSimilarity {
    /// The cosine of the angle between two vectors of one length, in double; 0 where one of them is 0.
    public static func cosine(_ a: [Float], _ b: [Float]) -> Double {
        precondition(a.count == b.count, "vectors of \(a.count) and \(b.count) numbers")
        var (product, left, right) = (0.0, 0.0, 0.0)
        for (x, y) in zip(a, b) {
            product += Double(x) * Double(y)
            left += Double(x) * Double(x)
            right += Double(y) * Double(y)
        }
        let length = left.squareRoot() * right.squareRoot()
        return length > 0 ? max(-1, min(1, product / length)) : 0
    }

    /// Spearman's rank correlation (1904) of two lists, in −1...1: Pearson's of their ranks.
    /// - Returns: nil where it has no value: fewer than two numbers, one that is NaN, or a list of equal numbers.
    public static func spearman(_ x: [Double], _ y: [Double]) -> Double? {
        precondition(x.count == y.count, "lists of \(x.count) and \(y.count) numbers")
        guard !x.contains(where: \.isNaN), !y.contains(where: \.isNaN) else { return nil }
        return pearson(ranks(x), ranks(y))
    }

    /// Pearson's correlation of two lists; nil where one of them does not vary.
    public static func pearson(_ x: [Double], _ y: [Double]) -> Double? {
        precondition(x.count == y.count, "lists of \(x.count) and \(y.count) numbers")
        let count = Double(x.count)
        let (mx, my) = (x.reduce(0, +) / count, y.reduce(0, +) / count)
        var (xy, xx, yy) = (0.0, 0.0, 0.0)
        for (a, b) in zip(x, y) {
            xy += (a - mx) * (b - my)
            xx += (a - mx) * (a - mx)
            yy += (b - my) * (b - my)
        }
        let spread = xx.squareRoot() * yy.squareRoot()
        return spread > 0 ? max(-1, min(1, xy / spread)) : nil
    }

    /// 1 for the smallest number; equal numbers share the mean of their places.
    public static func ranks(_ values: [Double]) -> [Double] {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = [Double](repeating: 0, count: values.count)
        var start = 0
        while start < order.count {
            var end = start + 1
            while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
            // Places start + 1 ... end.
            for place in start..<end { ranks[order[place]] = Double(start + 1 + end) / 2 }
            start = end
        }
        return ranks
    }
}
