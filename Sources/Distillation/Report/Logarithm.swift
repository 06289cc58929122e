import Glibc

/// The decimal logarithm.
func logTen(_ value: Double) -> Double {
    log10(value)
}

/// 10 to the power of an integer, correctly rounded where Double has it exactly.
func powerOfTen(_ exponent: Int) -> Double {
    pow(10, Double(exponent))
}
