/// The directions in which vectors vary most (Pearson 1901), from their covariance in double.
struct PrincipalComponents {
    /// `[count, width]`, row-major, each of length 1, the most varied first; of each the number of largest magnitude is positive.
    let components: [Float]
    let count: Int
    let width: Int
    /// Share of the variance that they keep.
    let kept: Double

    /// - Parameters:
    ///   - rows: `[rows, width]`, row-major.
    ///   - count: 1 to `width`.
    init(_ rows: [Float], width: Int, count: Int) {
        precondition(count >= 1 && count <= width && rows.count % width == 0)
        let number = max(1, rows.count / width)
        var mean = [Double](repeating: 0, count: width)
        for (index, value) in rows.enumerated() { mean[index % width] += Double(value) / Double(number) }
        var covariance = [Double](repeating: 0, count: width * width)
        var centred = [Double](repeating: 0, count: width)
        for row in 0..<(rows.count / width) {
            for column in 0..<width { centred[column] = Double(rows[row * width + column]) - mean[column] }
            covariance.withUnsafeMutableBufferPointer { covariance in
                for i in 0..<width {
                    let factor = centred[i]
                    for j in 0...i { covariance[i * width + j] += factor * centred[j] }
                }
            }
        }
        for i in 0..<width { for j in 0..<i { covariance[j * width + i] = covariance[i * width + j] } }
        let eigen = SymmetricEigenvectors(covariance, width)
        let order = (0..<width).sorted { (-eigen.values[$0], $0) < (-eigen.values[$1], $1) }.prefix(count)
        components = order.flatMap { index -> [Float] in
            let vector = (0..<width).map { eigen.vectors[$0 * width + index] }
            let largest = vector.max { abs($0) < abs($1) } ?? 0
            return vector.map { Float(largest < 0 ? -$0 : $0) }
        }
        (self.count, self.width) = (count, width)
        let all = eigen.values.reduce(0) { $0 + max(0, $1) }
        kept = all > 0 ? order.reduce(0) { $0 + max(0, eigen.values[$1]) } / all : 1
    }
}

/// Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to three diagonals, then QL with implicit shifts (EISPACK's
/// tred2 and tql2, as in JAMA).
struct SymmetricEigenvectors {
    private(set) var values: [Double]
    /// `[size, size]`, row-major: a column for each value.
    private(set) var vectors: [Double]

    init(_ matrix: [Double], _ n: Int) {
        var d = [Double](repeating: 0, count: n)
        var e = d
        var v = matrix
        v.withUnsafeMutableBufferPointer { v in
            d.withUnsafeMutableBufferPointer { d in
                e.withUnsafeMutableBufferPointer { e in
                    Self.tridiagonalize(v, d, e, n)
                    Self.diagonalize(v, d, e, n)
                }
            }
        }
        (values, vectors) = (d, v)
    }

    private typealias Numbers = UnsafeMutableBufferPointer<Double>

    private static func tridiagonalize(_ v: Numbers, _ d: Numbers, _ e: Numbers, _ n: Int) {
        for j in 0..<n { d[j] = v[(n - 1) * n + j] }
        for i in stride(from: n - 1, to: 0, by: -1) {
            var (scale, h) = (0.0, 0.0)
            for k in 0..<i { scale += abs(d[k]) }
            if scale == 0 {
                e[i] = d[i - 1]
                for j in 0..<i {
                    d[j] = v[(i - 1) * n + j]
                    v[i * n + j] = 0
                    v[j * n + i] = 0
                }
            } else {
                for k in 0..<i {
                    d[k] /= scale
                    h += d[k] * d[k]
                }
                var f = d[i - 1]
                var g = f > 0 ? -h.squareRoot() : h.squareRoot()
                e[i] = scale * g
                h -= f * g
                d[i - 1] = f - g
                for j in 0..<i { e[j] = 0 }
                for j in 0..<i {
                    f = d[j]
                    v[j * n + i] = f
                    g = e[j] + v[j * n + j] * f
                    for k in (j + 1)..<max(i, j + 1) {
                        g += v[k * n + j] * d[k]
                        e[k] += v[k * n + j] * f
                    }
                    e[j] = g
                }
                f = 0
                for j in 0..<i {
                    e[j] /= h
                    f += e[j] * d[j]
                }
                let hh = f / (h + h)
                for j in 0..<i { e[j] -= hh * d[j] }
                for j in 0..<i {
                    f = d[j]
                    g = e[j]
                    for k in j..<i { v[k * n + j] -= f * e[k] + g * d[k] }
                    d[j] = v[(i - 1) * n + j]
                    v[i * n + j] = 0
                }
            }
            d[i] = h
        }
        for i in 0..<max(0, n - 1) {
            v[(n - 1) * n + i] = v[i * n + i]
            v[i * n + i] = 1
            let h = d[i + 1]
            if h != 0 {
                for k in 0...i { d[k] = v[k * n + i + 1] / h }
                for j in 0...i {
                    var g = 0.0
                    for k in 0...i { g += v[k * n + i + 1] * v[k * n + j] }
                    for k in 0...i { v[k * n + j] -= g * d[k] }
                }
            }
            for k in 0...i { v[k * n + i + 1] = 0 }
        }
        for j in 0..<n {
            d[j] = v[(n - 1) * n + j]
            v[(n - 1) * n + j] = 0
        }
        v[n * n - 1] = 1
        e[0] = 0
    }

    private static func diagonalize(_ v: Numbers, _ d: Numbers, _ e: Numbers, _ n: Int) {
        for i in 1..<max(1, n) { e[i - 1] = e[i] }
        e[n - 1] = 0
        var (f, largest) = (0.0, 0.0)
        for l in 0..<n {
            largest = max(largest, abs(d[l]) + abs(e[l]))
            var m = l
            while m < n - 1, abs(e[m]) > largest * 0x1p-52 { m += 1 }
            if m > l {
                repeat {
                    var g = d[l]
                    var p = (d[l + 1] - g) / (2 * e[l])
                    var r = (p * p + 1).squareRoot()
                    if p < 0 { r = -r }
                    d[l] = e[l] / (p + r)
                    d[l + 1] = e[l] * (p + r)
                    let next = d[l + 1]
                    var h = g - d[l]
                    for i in (l + 2)..<max(n, l + 2) { d[i] -= h }
                    f += h
                    p = d[m]
                    var (c, c2, c3) = (1.0, 1.0, 1.0)
                    let el1 = e[l + 1]
                    var (s, s2) = (0.0, 0.0)
                    for i in stride(from: m - 1, through: l, by: -1) {
                        (c3, c2, s2) = (c2, c, s)
                        g = c * e[i]
                        h = c * p
                        r = (p * p + e[i] * e[i]).squareRoot()
                        e[i + 1] = s * r
                        s = e[i] / r
                        c = p / r
                        p = c * d[i] - s * g
                        d[i + 1] = h + s * (c * g + s * d[i])
                        for k in 0..<n {
                            h = v[k * n + i + 1]
                            v[k * n + i + 1] = s * v[k * n + i] + c * h
                            v[k * n + i] = c * v[k * n + i] - s * h
                        }
                    }
                    p = -s * s2 * c3 * el1 * e[l] / next
                    e[l] = s * p
                    d[l] = c * p
                } while abs(e[l]) > largest * 0x1p-52
            }
            d[l] += f
            e[l] = 0
        }
    }
}
