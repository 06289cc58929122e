/// What checks of ops share: descriptions, float64 references, goldens, measurements.
public enum Conformance {}
